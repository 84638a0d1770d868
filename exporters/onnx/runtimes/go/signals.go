package guard

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
)

// Signals are N generations, as JSON lines hold them.
type Signals struct {
	IDs []string
	// Cells is [N, T, C] in the guard's domain, and Lengths [N].
	Cells       []float32
	Lengths     []int64
	Fingerprint string
}

type line struct {
	Head        *int             `json:"sri_signals"`
	Fingerprint json.RawMessage  `json:"fingerprint"`
	ID          *string          `json:"id"`
	Sigma       *json.RawMessage `json:"sigma"`
	Logit       *json.RawMessage `json:"logit"`
	Length      *int64           `json:"length"`
}

// Go reads no NaN and no Infinity, which Python writes; both mean "not finite", and null does.
var notFinite = regexp.MustCompile(`-?\b(NaN|Infinity)\b`)

// ReadSignals reads JSON lines as `sri score` does:
//
//	{"sri_signals": 1, "fingerprint": {...}}                    optional first line
//	{"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}   a number per cell; a list per cell where C > 1
//
// The form the bundle reads must be there. Without length the generation is finished.
func ReadSignals(from io.Reader, subject string, g *Guard) (*Signals, error) {
	found, seen := &Signals{}, map[string]bool{}
	reader := bufio.NewReader(from)
	for number, last := 1, false; !last; number++ {
		text, err := reader.ReadBytes('\n')
		if last = err != nil; last && err != io.EOF {
			return nil, fmt.Errorf("%s: cannot be read (%v).", subject, err)
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		if err := found.add(text, g, seen); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", subject, number, err)
		}
	}
	if len(found.IDs) == 0 {
		return nil, fmt.Errorf("%s: holds no signals.", subject)
	}
	return found, nil
}

func (s *Signals) add(text []byte, g *Guard, seen map[string]bool) error {
	var one line
	decoder := json.NewDecoder(bytes.NewReader(outsideTexts(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&one); err != nil {
		return fmt.Errorf("not a line of signals (%v).", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("something behind the object. Write one per line.")
	}
	if one.Head != nil {
		if len(s.IDs) > 0 || *one.Head != 1 || one.ID != nil || one.Sigma != nil || one.Logit != nil || one.Length != nil {
			return fmt.Errorf("a head {\"sri_signals\": 1, \"fingerprint\": {...}} is allowed on the first line only.")
		}
		if string(one.Fingerprint) != "null" {
			s.Fingerprint = string(one.Fingerprint)
		}
		return nil
	}
	list := one.Sigma
	if g.Domain == "logit" {
		list = one.Logit
	}
	if one.ID == nil || list == nil || one.Fingerprint != nil {
		return fmt.Errorf("a line needs a text `id` and `%s`, which the bundle reads, and may have `length`.", g.Domain)
	}
	cells, ok := grid(*list, g.Cells, g.Layers)
	if !ok {
		return fmt.Errorf("%s is not %d cells of %d numbers each, which the guard takes.", g.Domain, g.Cells, g.Layers)
	}
	if seen[*one.ID] {
		return fmt.Errorf("id %q is there twice.", *one.ID)
	}
	seen[*one.ID] = true
	length := int64(g.Cells)
	if one.Length != nil {
		length = *one.Length
	}
	s.IDs, s.Cells, s.Lengths = append(s.IDs, *one.ID), append(s.Cells, cells...), append(s.Lengths, length)
	return nil
}

// outsideTexts replaces what Go does not read by null, except inside of texts.
func outsideTexts(text []byte) []byte {
	var out []byte
	for len(text) > 0 {
		quote := bytes.IndexByte(text, '"')
		if quote < 0 {
			return append(out, notFinite.ReplaceAll(text, []byte("null"))...)
		}
		end := quote + 1
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		if end++; end > len(text) {
			end = len(text)
		}
		out = append(append(out, notFinite.ReplaceAll(text[:quote], []byte("null"))...), text[quote:end]...)
		text = text[end:]
	}
	return out
}

func grid(list json.RawMessage, cells, layers int) ([]float32, bool) {
	var rows []json.RawMessage
	if json.Unmarshal(list, &rows) != nil || len(rows) != cells {
		return nil, false
	}
	values := make([]float32, 0, cells*layers)
	for _, row := range rows {
		numbers := make([]*float64, 1)
		var err error
		if row[0] == '[' {
			err = json.Unmarshal(row, &numbers)
		} else {
			err = json.Unmarshal(row, &numbers[0])
		}
		if err != nil || len(numbers) != layers {
			return nil, false
		}
		for _, number := range numbers {
			if number == nil {
				values = append(values, float32(math.NaN()))
			} else {
				values = append(values, float32(*number))
			}
		}
	}
	return values, true
}
