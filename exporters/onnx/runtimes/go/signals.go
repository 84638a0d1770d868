package guard

// #include <stdlib.h>
// #include "../c/sri_guard.h"
import "C"

import (
	"fmt"
	"io"
	"runtime"
	"unsafe"
)

// One more byte than the C library reads, so that it sees what is too much.
const mostBytes = 1<<30 + 1

// Signals are N generations, as JSON lines hold them.
type Signals struct {
	IDs []string
	// Cells is [N, T, C] in the guard's domain, and Lengths [N].
	Cells       []float32
	Lengths     []int64
	Fingerprint string
	// Groups [N] say to which group of prompts each generation belongs; "" = not named.
	Groups []string
}

// ReadSignals reads JSON lines as `sri score` does:
//
//	{"sri_signals": 1, "fingerprint": {...}, "columns": [...]}  optional first line
//	{"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}   a number per cell; a list per cell where C > 1
//
// The form the bundle reads must be there. Without length the generation is finished. A line may name its
// group. A byte-order mark in front is
// skipped; what is written twice, unknown or of another kind is refused.
func ReadSignals(from io.Reader, subject string, g *Guard) (*Signals, error) {
	content, err := io.ReadAll(io.LimitReader(from, mostBytes))
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read (%v).", subject, err)
	}
	var native *C.sri_signals
	var refused C.sri_error
	name := C.CString(subject)
	defer C.free(unsafe.Pointer(name))
	var first unsafe.Pointer
	if len(content) > 0 {
		first = unsafe.Pointer(&content[0])
	}
	status := C.sri_signals_parse(g.open(), name, first, C.size_t(len(content)), &native, &refused)
	runtime.KeepAlive(g)
	if status != C.SRI_OK {
		return nil, reason(&refused)
	}
	defer C.sri_signals_free(native)
	rows := int(C.sri_signals_count(native))
	found := &Signals{
		IDs:     make([]string, rows),
		Groups:  make([]string, rows),
		Cells:   append([]float32(nil), unsafe.Slice((*float32)(unsafe.Pointer(C.sri_signals_cells(native))), rows*g.Cells*g.Columns)...),
		Lengths: append([]int64(nil), unsafe.Slice((*int64)(unsafe.Pointer(C.sri_signals_lengths(native))), rows)...),
	}
	groups := unsafe.Slice(C.sri_signals_groups(native), rows)
	for row := range found.IDs {
		found.Groups[row] = C.GoString(groups[row]) // "" of NULL
		found.IDs[row] = C.GoString(C.sri_signals_id(native, C.size_t(row)))
	}
	if print := C.sri_signals_fingerprint(native); print != nil {
		found.Fingerprint = C.GoString(print)
	}
	return found, nil
}
