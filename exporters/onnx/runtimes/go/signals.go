package guard

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

const (
	mostRows    = 1_000_000
	mostNumbers = 1 << 25
	mostBytes   = 1 << 30
	longestLine = 1 << 24
	longestID   = 1024 // characters
)

// Signals are N generations, as JSON lines hold them.
type Signals struct {
	IDs []string
	// Cells is [N, T, C] in the guard's domain, and Lengths [N].
	Cells       []float32
	Lengths     []int64
	Fingerprint string
}

// ReadSignals reads JSON lines as `sri score` does:
//
//	{"sri_signals": 1, "fingerprint": {...}}                    optional first line
//	{"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}   a number per cell; a list per cell where C > 1
//
// The form the bundle reads must be there. Without length the generation is finished. A byte-order mark in front is
// skipped; what is written twice, unknown or of another kind is refused.
func ReadSignals(from io.Reader, subject string, g *Guard) (*Signals, error) {
	found := &signalLines{guard: g, first: true, seen: map[string]bool{}}
	reader := bufio.NewReader(from)
	total := 0
	for line, last := 1, false; !last; line++ {
		text, err := readLine(reader)
		if last = err == io.EOF; err != nil && !last {
			return nil, fmt.Errorf("%s, line %d: cannot be read (%v).", subject, line, err)
		}
		if total += len(text); line > mostRows+1 && len(text) > 0 || total > mostBytes {
			return nil, fmt.Errorf("%s, line %d: too much at once; allowed: up to %d lines and %d bytes. Split the file.",
				subject, line, mostRows+1, mostBytes)
		}
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if len(bytes.Trim(text, " \t\r\n")) == 0 {
			continue
		}
		if err := found.add(text); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", subject, line, err)
		}
		found.first = false
	}
	if len(found.IDs) == 0 {
		return nil, fmt.Errorf("%s: holds no signals.", subject)
	}
	return &found.Signals, nil
}

// readLine gives a line with its end; io.EOF comes with the last one.
func readLine(from *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := from.ReadSlice('\n')
		if whole = append(whole, part...); len(whole) > longestLine {
			return nil, fmt.Errorf("more than %d bytes; allowed: that many in a line", longestLine)
		}
		if err != bufio.ErrBufferFull {
			return whole, err
		}
	}
}

type signalLines struct {
	Signals
	guard *Guard
	// first: no line but blank ones was read yet; both: lines hold sigma and logit.
	first, both bool
	seen        map[string]bool
}

func (s *signalLines) add(text []byte) error {
	value, err := parseJSON(text)
	if err != nil {
		return fmt.Errorf("not JSON (%v).", err)
	}
	line, ok := value.(*object)
	if !ok {
		return fmt.Errorf("not a JSON object. Write one per line.")
	}
	if format, ok := line.members["sri_signals"]; ok {
		return s.head(format, line.members)
	}
	return s.row(line.members)
}

func (s *signalLines) head(format any, members map[string]any) error {
	print, given := members["fingerprint"]
	version, ok := format.(number)
	if !s.first || !ok || !version.whole || version.value != 1 || len(members) > 2 || len(members) == 2 && !given {
		return fmt.Errorf("a head {\"sri_signals\": 1, \"fingerprint\": {...}} is allowed on the first line only, with these keys.")
	}
	if print == nil {
		return nil
	}
	if found, ok := print.(*object); ok {
		_, hard := found.members["hard"].(*object)
		if _, soft := found.members["soft"].(*object); hard && soft {
			s.Fingerprint = found.text
			return nil
		}
	}
	return fmt.Errorf("the fingerprint must be an object with the objects `hard` and `soft`, or null.")
}

func (s *signalLines) row(members map[string]any) error {
	g := s.guard
	form, other := "sigma", "logit"
	if g.Domain == "logit" {
		form, other = other, form
	}
	id, ok := members["id"].(string)
	list, given := members[form]
	beside, both := members[other]
	if len(s.IDs) == 0 {
		s.both = both
	}
	length, counted := members["length"]
	known := 2
	for _, more := range []bool{both, counted} {
		if more {
			known++
		}
	}
	if !ok || !given || both != s.both || len(members) != known {
		return fmt.Errorf("a line needs a text `id` and `%s`, which the bundle reads, and may have `length`; the other form is in every "+
			"line, or in none.", form)
	}
	cells, fits := grid(list, g.Cells, g.Layers)
	if fits && both {
		_, fits = grid(beside, g.Cells, g.Layers)
	}
	if !fits {
		return fmt.Errorf("%s or the other form is not %d cells of %d numbers each, which the guard takes.", form, g.Cells, g.Layers)
	}
	filled := number{whole: true, value: float64(g.Cells)}
	if counted {
		filled, _ = length.(number)
	}
	if !filled.whole || filled.value < 0 || filled.value > float64(g.Cells) {
		return fmt.Errorf("length is not a whole number from 0 to %d: the number of cells filled so far.", g.Cells)
	}
	if strings.IndexByte(id, 0) >= 0 || utf8.RuneCountInString(id) > longestID {
		return fmt.Errorf("`id` holds a NUL, or more than %d characters.", longestID)
	}
	if s.seen[id] {
		return fmt.Errorf("id %q is there twice.", id)
	}
	if len(s.IDs) == mostRows || len(s.Cells)+len(cells) > mostNumbers {
		return fmt.Errorf("too much at once; allowed: up to %d generations and %d numbers. Split the file.", mostRows, mostNumbers)
	}
	s.seen[id] = true
	s.IDs, s.Cells, s.Lengths = append(s.IDs, id), append(s.Cells, cells...), append(s.Lengths, int64(filled.value))
	return nil
}

// grid reads a list of T numbers, or of T lists of C numbers; nil is not finite.
func grid(list any, cells, layers int) ([]float32, bool) {
	rows, ok := list.([]any)
	if !ok || len(rows) != cells {
		return nil, false
	}
	_, nested := rows[0].([]any)
	values := make([]float32, 0, cells*layers)
	for _, row := range rows {
		numbers, ok := row.([]any)
		if ok != nested {
			return nil, false
		}
		if !nested {
			numbers = []any{row}
		}
		if len(numbers) != layers {
			return nil, false
		}
		for _, one := range numbers {
			found, ok := one.(number)
			if one == nil {
				found.value = math.NaN()
			} else if !ok {
				return nil, false
			}
			values = append(values, float32(found.value))
		}
	}
	return values, true
}
