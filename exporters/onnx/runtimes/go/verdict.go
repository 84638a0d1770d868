package guard

// #include <stdlib.h>
// #include "../c/sri_guard.h"
import "C"

import (
	"encoding/json"
	"strings"
	"unsafe"
)

// Rule says when a guard decides.
type Rule int

const (
	// Final judges finished generations.
	Final Rule = C.SRI_FINAL
	// Online judges every length up to the row's own, as a monitor would have done while it ran.
	Online Rule = C.SRI_ONLINE
	// Request judges what the guard says of requests alone; not every guard has this rule.
	Request Rule = C.SRI_REQUEST
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
	// Groups [N] say to which group of prompts each generation belongs, "" = not known; nil = nobody knows any. Guards
	// without groups do not read them.
	Groups []string
}

// Schema2 is what verdicts say only of guards of format 2.
type Schema2 struct {
	// JudgedSteps are the steps that the verdict is about, of a guard that decides on the first ones.
	JudgedSteps *int64 `json:"judged_steps"`
	// Ended is "refusing" or "complying"; nil = the guard cannot tell.
	Ended *string `json:"ended"`
	// Group is whose thresholds counted; nil = the guard has no groups, or not the one given.
	Group *string `json:"group"`
	// Parts are what each part of the rule says.
	Parts []PartVerdict `json:"parts"`
}

// PartVerdict is what one part of a guard says of one generation.
type PartVerdict struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	// Score is nil where nothing could be scored, as is PValue.
	Score     *float64 `json:"score"`
	Threshold float64  `json:"threshold"`
	PValue    *float64 `json:"p_value"`
	// Reason is the code of its alarm, or of why it could not be judged; nil = it is clear.
	Reason *string `json:"reason"`
}

// Verdict is what a guard says of one generation, in the schemas every runtime shares. "unmonitored" is never "clear".
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
	// Schema2 is nil in schema 1.
	*Schema2
	Schema int `json:"schema"`
}

// native gives the options and groups as C has them, and what frees them.
func (o Options) native() (*C.sri_options, **C.char, func()) {
	native := (*C.sri_options)(C.calloc(1, C.size_t(unsafe.Sizeof(C.sri_options{}))))
	names, freeNames := texts(o.Accept, func(string) bool { return true })
	// A NUL would end a text early, and make it another group.
	groups, freeGroups := texts(o.Groups, func(name string) bool { return name != "" && !strings.Contains(name, "\x00") })
	native.rule = C.sri_rule(o.Rule)
	native.unverified = C.bool(o.Unverified)
	native.accept = names
	native.accept_count = C.size_t(len(o.Accept))
	if o.Fingerprint != "" {
		native.fingerprint = C.CString(o.Fingerprint)
	}
	return native, groups, func() {
		freeNames()
		freeGroups()
		C.free(unsafe.Pointer(native.fingerprint))
		C.free(unsafe.Pointer(native))
	}
}

// texts is a list as C has it, nil where there is none; what is not wanted becomes NULL.
func texts(values []string, wanted func(string) bool) (**C.char, func()) {
	if values == nil {
		return nil, func() {}
	}
	first := (**C.char)(C.calloc(C.size_t(len(values))+1, C.size_t(unsafe.Sizeof((*C.char)(nil)))))
	list := unsafe.Slice(first, len(values)+1)
	for i, value := range values {
		if wanted(value) {
			list[i] = C.CString(value)
		}
	}
	return first, func() {
		for _, text := range list {
			C.free(unsafe.Pointer(text))
		}
		C.free(unsafe.Pointer(first))
	}
}

// fromC goes through the JSON of the C library, so that the schema is written down once.
func fromC(native *C.sri_verdict) Verdict {
	var verdict Verdict
	id := C.CString("")
	defer C.free(unsafe.Pointer(id))
	room := C.sri_verdict_json(native, id, nil, 0) + 1
	line := (*C.char)(C.malloc(room))
	defer C.free(unsafe.Pointer(line))
	C.sri_verdict_json(native, id, line, room)
	if err := json.Unmarshal([]byte(C.GoString(line)), &verdict); err != nil {
		panic("guard: a verdict is not JSON: " + err.Error())
	}
	return verdict
}
