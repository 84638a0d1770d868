package guard

// #include <stdlib.h>
// #include "../c/sri_guard.h"
import "C"

import (
	"encoding/json"
	"unsafe"
)

// Rule says when a guard decides.
type Rule int

const (
	// Final judges finished generations.
	Final Rule = C.SRI_FINAL
	// Online judges every length up to the row's own, as a monitor would have done while it ran.
	Online Rule = C.SRI_ONLINE
)

// Options say how signals are to be judged.
type Options struct {
	Rule Rule
	// Fingerprint is a JSON object with hard and soft: what made the signals; "" = not known.
	Fingerprint string
	// Accept names soft fields that may differ.
	Accept []string
	// Unverified scores signals without a fingerprint, at the caller's risk.
	Unverified bool
}

// Verdict is what a guard says of one generation, in the schema every runtime shares. "unmonitored" is never "clear".
type Verdict struct {
	RequestID string   `json:"request_id"`
	Status    string   `json:"status"`
	Reasons   []string `json:"reasons"`
	// Score is higher for what is more suspicious, in the detector's own unit; nil where nothing could be scored.
	Score *float64 `json:"score"`
	// Threshold: flagged when score > threshold.
	Threshold float64 `json:"threshold"`
	// PValue is (1 + #{calibration scores >= score}) / (n + 1).
	PValue *float64 `json:"p_value"`
	// FirstAlarmStep is the step that was done when the online rule first alarmed, counted from 0.
	FirstAlarmStep *int64 `json:"first_alarm_step"`
	StepsSeen      *int64 `json:"steps_seen"`
	StepsExpected  *int64 `json:"steps_expected"`
	Rule           string `json:"rule"`
	// Bundle is the digest of the bundle that scored it.
	Bundle string `json:"bundle"`
	// Accepted are soft fields of the fingerprint that differ and were accepted; "unverified" for signals without one.
	Accepted []string `json:"accepted"`
	Schema   int      `json:"schema"`
}

func (o Options) native() (*C.sri_options, func()) {
	native := (*C.sri_options)(C.calloc(1, C.size_t(unsafe.Sizeof(C.sri_options{}))))
	names := (**C.char)(C.calloc(C.size_t(len(o.Accept))+1, C.size_t(unsafe.Sizeof((*C.char)(nil)))))
	list := unsafe.Slice(names, len(o.Accept)+1)
	for i, name := range o.Accept {
		list[i] = C.CString(name)
	}
	native.rule = C.sri_rule(o.Rule)
	native.unverified = C.bool(o.Unverified)
	native.accept = names
	native.accept_count = C.size_t(len(o.Accept))
	if o.Fingerprint != "" {
		native.fingerprint = C.CString(o.Fingerprint)
	}
	return native, func() {
		for _, name := range list {
			C.free(unsafe.Pointer(name))
		}
		C.free(unsafe.Pointer(names))
		C.free(unsafe.Pointer(native.fingerprint))
		C.free(unsafe.Pointer(native))
	}
}

// fromC goes through the JSON of the C library, so that the schema is written down once.
func fromC(native *C.sri_verdict) Verdict {
	var line [1024]C.char
	var verdict Verdict
	id := C.CString("")
	defer C.free(unsafe.Pointer(id))
	C.sri_verdict_json(native, id, &line[0], C.size_t(len(line)))
	if err := json.Unmarshal([]byte(C.GoString(&line[0])), &verdict); err != nil {
		panic("guard: a verdict is not JSON: " + err.Error())
	}
	return verdict
}
