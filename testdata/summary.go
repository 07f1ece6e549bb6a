//go:build ignore

// Summary reads what go test -json says, and says it to a person: a line per
// package, all of a test that failed, and each test that was skipped with its
// reason. With -v it passes on every line of every test, and says again at the end
// why tests failed.
//
// The exit status is 1 if anything failed or nothing ran, and, with
// TINYBACKUP_TEST_NO_SKIP=1, if anything was skipped.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// An event is what test2json documents, and what cmd/go adds for builds.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
}

// most is how many lines of a failed test are said again at the end, after all the others.
const most = 25

func main() {
	verbose := len(os.Args) > 1 && os.Args[1] == "-v"
	strict := os.Getenv("TINYBACKUP_TEST_NO_SKIP") == "1"
	output := make(map[[2]string][]string)
	tests := make(map[string]int)
	var skips, fails, said []string
	total := 0
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			fmt.Println(in.Text()) // cmd/go itself has something to say
			continue
		}
		key := [2]string{e.Package, e.Test}
		name := e.Package + " " + e.Test
		switch e.Action {
		case "build-output":
			fmt.Print(e.Output)
		case "build-fail":
			fails = append(fails, e.ImportPath+" does not build")
		case "output":
			if verbose {
				fmt.Print(e.Output)
			}
			output[key] = append(output[key], e.Output)
		case "pass", "fail", "skip":
			lines := output[key]
			delete(output, key)
			switch {
			case e.Test == "":
				if e.Action == "fail" {
					fails = append(fails, e.Package)
					if !verbose {
						fmt.Print(strings.Join(lines, ""))
					}
				} else if !verbose && e.Action == "pass" {
					fmt.Printf("ok    %-32s %5d tests %7.1fs\n", e.Package, tests[e.Package], e.Elapsed)
				}
				continue
			case e.Action == "fail":
				fails = append(fails, name)
				if verbose { // among thousands of lines, it would be lost
					said = append(said, lines[max(0, len(lines)-most):]...)
				} else {
					fmt.Print(strings.Join(lines, ""))
				}
			case e.Action == "skip":
				skips = append(skips, name+": "+reason(lines))
			}
			tests[e.Package]++
			total++
		}
	}
	fmt.Print(strings.Join(said, ""))
	for _, s := range skips {
		fmt.Println("SKIPPED", s)
	}
	for _, f := range fails {
		fmt.Println("FAILED ", f)
	}
	fmt.Printf("%d tests, %d failures, %d skipped\n", total, len(fails), len(skips))
	if err := in.Err(); err != nil {
		fmt.Println("summary:", err)
		os.Exit(1)
	}
	if len(fails) > 0 || total == 0 || strict && len(skips) > 0 {
		os.Exit(1)
	}
}

// reason is what a skipped test said, without the lines of the framework.
func reason(lines []string) string {
	var said []string
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}
