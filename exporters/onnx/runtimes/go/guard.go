// Package guard scores a guard's bundle from Go, over the C library next door: read it or refuse it, then signals in,
// verdicts out.
//
//	g, err := guard.Open("guard/bundle", "")
//	defer g.Close()
//	verdicts, err := g.Score(signals, nil, guard.Options{Rule: guard.Final, Fingerprint: fingerprint})
//
// Letters in shapes: N generations, T cells of the step grid, C columns (in format 1, the tapped layers), K parts (1 in
// format 1); arrays are row-major. A Guard may be used by several goroutines at once; Close waits for none of them. The signature of a bundle and its static inspection are
// left to `sri bundle verify`.
package guard

/*
#cgo CFLAGS: -std=c11 -O2
#cgo LDFLAGS: -lonnxruntime -lm
#include <stdlib.h>
#include "../c/sri_guard.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"
)

// Guard is a bundle, loaded and self-tested.
type Guard struct {
	handle *C.sri_guard
	// Digest names this very bundle: 64 hex characters.
	Digest string
	// Domain is what signals must hold: "sigma" or "logit".
	Domain string
	// Cells is T, Columns is C, and Parts is K.
	Cells, Columns, Parts int
	// ColumnNames are those of the C columns, and PartNames those of the K parts; nil in format 1.
	ColumnNames, PartNames []string
}

// Open reads a bundle folder and makes it ready.
//
// It refuses what is missing, listed but not there, there but not listed, not a plain file, too large, damaged, of another
// format or of tier python, what onnxruntime cannot load, and what computes something else than the golden vectors.
// digest (64 hex characters, or "") must be the bundle's own: the one protection against tampering here.
func Open(folder, digest string) (*Guard, error) {
	var g Guard
	var refused C.sri_error
	path, pinned := C.CString(folder), pinnedDigest(digest)
	defer C.free(unsafe.Pointer(path))
	defer C.free(unsafe.Pointer(pinned))
	if C.sri_guard_open(path, pinned, &g.handle, &refused) != C.SRI_OK {
		return nil, reason(&refused)
	}
	return g.ready(), nil
}

// OpenFiles is Open for files in memory, manifest.json among them; subject names them in errors.
func OpenFiles(subject string, files map[string][]byte, digest string) (*Guard, error) {
	var g Guard
	var refused C.sri_error
	name, pinned := C.CString(subject), pinnedDigest(digest)
	defer C.free(unsafe.Pointer(name))
	defer C.free(unsafe.Pointer(pinned))
	// C may not keep or follow pointers into Go's memory, so it gets copies.
	size := C.size_t(unsafe.Sizeof(C.sri_file{}))
	list := (*C.sri_file)(C.calloc(C.size_t(len(files))+1, size))
	if list == nil {
		return nil, errors.New(subject + ": not enough memory.")
	}
	defer C.free(unsafe.Pointer(list))
	given, at := unsafe.Slice(list, len(files)+1), 0
	for file, content := range files {
		given[at].name = C.CString(file)
		given[at].bytes = (*C.uint8_t)(C.CBytes(content))
		given[at].size = C.size_t(len(content))
		defer C.free(unsafe.Pointer(given[at].name))
		defer C.free(unsafe.Pointer(given[at].bytes))
		at++
	}
	if C.sri_guard_open_files(name, list, C.size_t(len(files)), pinned, &g.handle, &refused) != C.SRI_OK {
		return nil, reason(&refused)
	}
	return g.ready(), nil
}

// Close gives back what the guard holds. It must not be used afterwards.
func (g *Guard) Close() {
	C.sri_guard_close(g.handle)
	g.handle = nil
}

// HasRule says whether the guard has a rule; all have Final and Online.
func (g *Guard) HasRule(rule Rule) bool {
	return bool(C.sri_guard_has_rule(g.open(), C.sri_rule(rule)))
}

// Threshold is what scores of a part are compared with, flagged when above. For a group that the guard does not have, such
// as "", it is the largest of all groups. It is NaN where the rule does not judge this part.
func (g *Guard) Threshold(rule Rule, part int, group string) float64 {
	name := C.CString(group)
	defer C.free(unsafe.Pointer(name))
	return float64(C.sri_guard_threshold(g.open(), C.sri_rule(rule), C.size_t(part), name))
}

// Score gives one verdict per generation of signals [N, T, C]; lengths [N] are cells filled so far, nil = all T.
//
// A row that cannot be scored is Unmonitored and says why; it never fails its neighbours. It is an error if shapes do not
// fit, a length is outside 0..T, the guard does not have the rule, there is no fingerprint and Options.Unverified is not
// set, or the fingerprint is that of another model, tap or profile.
func (g *Guard) Score(signals []float32, lengths []int64, options Options) ([]Verdict, error) {
	rows, err := g.rows(signals, lengths)
	if err != nil || rows == 0 {
		return nil, err
	}
	if options.Groups != nil && len(options.Groups) != rows {
		return nil, fmt.Errorf("signals: %d groups for %d generations. Give one each, or none.", len(options.Groups), rows)
	}
	var refused C.sri_error
	var verdicts *C.sri_verdicts
	native, groups, release := options.native()
	defer release()
	status := C.sri_guard_score(g.open(), floats(signals), integers(lengths), groups, C.size_t(rows), native, &verdicts, &refused)
	runtime.KeepAlive(g)
	if status != C.SRI_OK {
		return nil, reason(&refused)
	}
	defer C.sri_verdicts_free(verdicts)
	found := make([]Verdict, rows)
	for i := range found {
		found[i] = fromC(C.sri_verdicts_at(verdicts, C.size_t(i)))
	}
	return found, nil
}

// Run gives the bare scores, for streaming: [N, T, C] -> score [N, K], valid [N, K].
//
// With lengths (cells known so far) it is the score of running generations, to be compared with the thresholds of Online,
// and cells beyond a length are not read; with nil that of finished ones. Where valid is false the score is 3e38.
func (g *Guard) Run(signals []float32, lengths []int64) ([]float32, []bool, error) {
	rows, err := g.rows(signals, lengths)
	if err != nil || rows == 0 {
		return nil, nil, err
	}
	var refused C.sri_error
	score, valid := make([]float32, rows*g.Parts), make([]bool, rows*g.Parts)
	status := C.sri_guard_run(g.open(), floats(signals), integers(lengths), C.size_t(rows),
		(*C.float)(unsafe.Pointer(&score[0])), (*C.bool)(unsafe.Pointer(&valid[0])), &refused)
	runtime.KeepAlive(g)
	if status != C.SRI_OK {
		return nil, nil, reason(&refused)
	}
	return score, valid, nil
}

func (g *Guard) ready() *Guard {
	g.Digest = C.GoString(C.sri_guard_digest(g.handle))
	g.Domain = C.GoString(C.sri_guard_domain(g.handle))
	g.Cells = int(C.sri_guard_cells(g.handle))
	g.Columns = int(C.sri_guard_columns(g.handle))
	g.Parts = int(C.sri_guard_parts(g.handle))
	for i := 0; i < g.Columns; i++ {
		if name := C.sri_guard_column_name(g.handle, C.size_t(i)); name != nil {
			g.ColumnNames = append(g.ColumnNames, C.GoString(name))
		}
	}
	for i := 0; i < g.Parts; i++ {
		if name := C.sri_guard_part_name(g.handle, C.size_t(i)); name != nil {
			g.PartNames = append(g.PartNames, C.GoString(name))
		}
	}
	return g
}

func (g *Guard) open() *C.sri_guard {
	if g.handle == nil {
		panic("guard: used after Close")
	}
	return g.handle
}

func (g *Guard) rows(signals []float32, lengths []int64) (int, error) {
	size := g.Cells * g.Columns
	rows := len(signals) / size
	if len(signals)%size != 0 || (lengths != nil && len(lengths) != rows) {
		return 0, fmt.Errorf("signals: %d numbers and %d lengths, the guard takes [N, %d, %d] and [N]. Lay the signals on the "+
			"guard's step grid and columns.", len(signals), len(lengths), g.Cells, g.Columns)
	}
	return rows, nil
}

func pinnedDigest(digest string) *C.char {
	if digest == "" {
		return nil
	}
	return C.CString(digest)
}

func reason(refused *C.sri_error) error { return errors.New(C.GoString(&refused.text[0])) }

func floats(values []float32) *C.float { return (*C.float)(unsafe.Pointer(&values[0])) }

func integers(values []int64) *C.int64_t {
	if values == nil {
		return nil
	}
	return (*C.int64_t)(unsafe.Pointer(&values[0]))
}

// ReadFolder reads the files of a bundle folder, for OpenFiles. Open does not need it, and is stricter about the folder.
func ReadFolder(folder string) (map[string][]byte, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte, len(entries))
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			return nil, fmt.Errorf("%s: %s is not a plain file, and a bundle holds plain files only. Copy the bundle again.",
				folder, entry.Name())
		}
		content, err := os.ReadFile(folder + "/" + entry.Name())
		if err != nil {
			return nil, err
		}
		files[entry.Name()] = content
	}
	return files, nil
}
