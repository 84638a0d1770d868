package guard

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The one JSON grammar of all readers, for signals. encoding/json takes keys in any case and twice, and half a surrogate
// pair. ../vectors/refusals.json has a case of each refusal.
const (
	jsonLevels     = 64
	jsonCharacters = 63
	jsonValues     = 1 << 20
)

var jsonNumber = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`)

// number is a JSON number as it was written: a float64 does not tell 1 from 1.0.
type number struct {
	text  string
	value float64
	whole bool
}

// values are nil, bool, number, string, []any or *object.
type object struct {
	members map[string]any
	// text is the object as it was written.
	text string
}

type parser struct {
	text   string
	at     int
	values int
}

// parseJSON reads one value; NaN, Infinity and -Infinity are numbers, as lines of signals may hold them.
func parseJSON(text []byte) (any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("bytes that are not UTF-8")
	}
	p := &parser{text: string(text)}
	found, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.blanks(); p.at < len(p.text) {
		return nil, errors.New("something behind the end")
	}
	return found, nil
}

func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *parser) blanks() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *parser) eat(word string) bool {
	found := strings.HasPrefix(p.text[p.at:], word)
	if found {
		p.at += len(word)
	}
	return found
}

func (p *parser) value(level int) (any, error) {
	if p.values++; p.values > jsonValues {
		return nil, errors.New("too many values")
	}
	p.blanks()
	switch first := p.peek(); {
	case first == '"':
		return p.quoted()
	case (first == '[' || first == '{') && level == jsonLevels:
		return nil, errors.New("too many levels")
	case first == '[':
		return p.array(level)
	case first == '{':
		return p.object(level)
	case p.eat("null"):
		return nil, nil
	case p.eat("true"):
		return true, nil
	case p.eat("false"):
		return false, nil
	case p.eat("NaN"):
		return number{"NaN", math.NaN(), false}, nil
	case p.eat("Infinity"):
		return number{"Infinity", math.Inf(1), false}, nil
	case p.eat("-Infinity"):
		return number{"-Infinity", math.Inf(-1), false}, nil
	}
	return p.number()
}

func (p *parser) number() (any, error) {
	parts := jsonNumber.FindStringSubmatch(p.text[p.at:])
	if parts == nil {
		return nil, errors.New("not a value")
	}
	text := parts[0]
	p.at += len(text)
	if len(text) > jsonCharacters {
		return nil, errors.New("a number with too many digits")
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errors.New("a number that no float64 holds")
	}
	whole := parts[1] == "" && parts[2] == ""
	if whole && math.Abs(value) >= 1<<53 {
		return nil, errors.New("an integer beyond 2^53 - 1")
	}
	return number{text, value, whole}, nil
}

func (p *parser) array(level int) (any, error) {
	items := []any{}
	p.at++
	for p.blanks(); !p.eat("]"); p.blanks() {
		if len(items) > 0 && !p.eat(",") {
			return nil, errors.New("no comma between two values")
		}
		item, err := p.value(level + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func (p *parser) object(level int) (any, error) {
	found, from := &object{members: map[string]any{}}, p.at
	p.at++
	for p.blanks(); !p.eat("}"); p.blanks() {
		if len(found.members) > 0 && !p.eat(",") {
			return nil, errors.New("no comma between two values")
		}
		p.blanks()
		key, err := p.quoted()
		if err != nil {
			return nil, err
		}
		if _, twice := found.members[key]; twice {
			return nil, errors.New("a key that is there twice")
		}
		if p.blanks(); !p.eat(":") {
			return nil, errors.New("no colon behind a key")
		}
		if found.members[key], err = p.value(level + 1); err != nil {
			return nil, err
		}
	}
	found.text = p.text[from:p.at]
	return found, nil
}

func (p *parser) quoted() (string, error) {
	if !p.eat(`"`) {
		return "", errors.New("no text where one must be")
	}
	var out strings.Builder
	for {
		from := p.at
		for p.at < len(p.text) && p.text[p.at] >= ' ' && p.text[p.at] != '"' && p.text[p.at] != '\\' {
			p.at++
		}
		out.WriteString(p.text[from:p.at])
		switch {
		case p.eat(`"`):
			return out.String(), nil
		case p.eat(`\`):
			if err := p.escape(&out); err != nil {
				return "", err
			}
		case p.at == len(p.text):
			return "", errors.New("a text without an end")
		default:
			return "", errors.New("a control character in a text")
		}
	}
}

var jsonEscapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *parser) escape(out *strings.Builder) error {
	c := p.peek()
	if plain, ok := jsonEscapes[c]; ok {
		p.at++
		out.WriteByte(plain)
		return nil
	}
	if !p.eat("u") {
		return errors.New("an unknown escape")
	}
	code, err := p.hex()
	if err != nil {
		return err
	}
	if code >= 0xd800 && code < 0xdc00 && p.eat(`\u`) {
		low, err := p.hex()
		if err != nil {
			return err
		}
		if low < 0xdc00 || low > 0xdfff {
			return errors.New("half a surrogate pair")
		}
		code = 0x10000 + (code-0xd800)<<10 + low - 0xdc00
	}
	if code >= 0xd800 && code < 0xe000 {
		return errors.New("half a surrogate pair")
	}
	out.WriteRune(rune(code))
	return nil
}

func (p *parser) hex() (uint64, error) {
	if len(p.text)-p.at < 4 {
		return 0, errors.New("an unknown escape")
	}
	digits := p.text[p.at : p.at+4]
	p.at += 4
	// ParseUint would take a sign or an underscore nowhere in base 16, so these are four digits.
	code, err := strconv.ParseUint(digits, 16, 32)
	if err != nil {
		return 0, errors.New("an unknown escape")
	}
	return code, nil
}
