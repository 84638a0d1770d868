// Command sri_score scores signals with a bundle, as `sri score --json` does.
//
// Verdicts go to standard output, one JSON object per line; a refusal is one line on standard error. Exit code: 0 done,
// 1 refused, 2 called wrongly. "-" reads signals from standard input.
//
// --check-many opens many bundles in one process, for tests of damage: each line of standard input is the path of a bundle,
// or path, file, byte and mask separated by tabs: the byte is changed (XOR) in memory before the bundle is opened. It
// answers every line with "ok" and the digest, or "refused" and the reason.
//
// --score-many makes many calls in one process: each line of standard input has the words of one, separated by tabs. Behind
// the verdicts of each call stands a line "done", its exit code and, where it was refused, the reason.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"sri-sdk/guard"
)

const usage = `usage: sri_score BUNDLE SIGNALS.jsonl [--rule final|online|request] [--accept FIELD]... [--unverified] [--digest HEX]
       sri_score --check BUNDLE [--digest HEX]
       sri_score --check-many < VARIANTS
       sri_score --score-many < CALLS`

type arguments struct {
	paths                       []string
	digest                      string
	options                     guard.Options
	check, checkMany, scoreMany bool
}

func parse(words []string) (a arguments, ok bool) {
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		value := func() (string, bool) {
			if len(words) == 0 {
				return "", false
			}
			found := words[0]
			words = words[1:]
			return found, true
		}
		ok := true
		switch {
		case word == "--check":
			a.check = true
		case word == "--check-many":
			a.checkMany = true
		case word == "--score-many":
			a.scoreMany = true
		case word == "--unverified":
			a.options.Unverified = true
		case word == "--digest":
			a.digest, ok = value()
		case word == "--accept":
			var name string
			name, ok = value()
			a.options.Accept = append(a.options.Accept, name)
		case word == "--rule":
			name, _ := value()
			a.options.Rule, ok = map[string]guard.Rule{"final": guard.Final, "online": guard.Online, "request": guard.Request}[name]
		case strings.HasPrefix(word, "--"):
			ok = false
		default:
			a.paths = append(a.paths, word)
		}
		if !ok {
			return a, false
		}
	}
	switch {
	case a.checkMany || a.scoreMany:
		return a, len(a.paths) == 0
	case a.check:
		return a, len(a.paths) == 1
	}
	return a, len(a.paths) == 2
}

func run(a arguments) error {
	g, err := guard.Open(a.paths[0], a.digest)
	if err != nil {
		return err
	}
	defer g.Close()
	if a.check {
		fmt.Printf("ok\t%s\n", g.Digest)
		return nil
	}
	var from io.Reader = os.Stdin
	subject := "standard input"
	if a.paths[1] != "-" {
		file, err := os.Open(a.paths[1])
		if err != nil {
			return err
		}
		defer file.Close()
		from, subject = file, a.paths[1]
	}
	signals, err := guard.ReadSignals(from, subject, g)
	if err != nil {
		return err
	}
	a.options.Fingerprint, a.options.Groups = signals.Fingerprint, signals.Groups
	verdicts, err := g.Score(signals.Cells, signals.Lengths, a.options)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for i := range verdicts {
		verdicts[i].RequestID = signals.IDs[i]
		if err := out.Encode(verdicts[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkVariant(text string) (*guard.Guard, error) {
	fields := strings.Split(text, "\t")
	if len(fields) != 4 {
		return guard.Open(text, "")
	}
	files, err := guard.ReadFolder(fields[0])
	if err != nil {
		return nil, err
	}
	at, err := strconv.Atoi(fields[2])
	mask, wrong := strconv.ParseUint(fields[3], 10, 8)
	if content := files[fields[1]]; err == nil && wrong == nil && at < len(content) {
		content[at] ^= byte(mask)
		return guard.OpenFiles(fields[0], files, "")
	}
	return nil, fmt.Errorf("%s: no such byte", fields[0])
}

func main() {
	a, ok := parse(os.Args[1:])
	if !ok {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	switch {
	case a.checkMany:
		checkAll()
	case a.scoreMany:
		scoreAll()
	default:
		if err := run(a); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func checkAll() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if g, err := checkVariant(lines.Text()); err != nil {
			fmt.Printf("refused\t%v\n", err)
		} else {
			fmt.Printf("ok\t%s\n", g.Digest)
			g.Close()
		}
	}
}

func scoreAll() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		a, ok := parse(strings.Split(lines.Text(), "\t"))
		if !ok || len(a.paths) == 0 {
			fmt.Println("done\t2")
		} else if err := run(a); err != nil {
			fmt.Printf("done\t1\t%v\n", err)
		} else {
			fmt.Println("done\t0")
		}
	}
}
