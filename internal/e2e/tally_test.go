//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
)

var faultSeed = flag.Uint64("fault-seed", 1, "without TINYBACKUP_TORTURE: which places are broken")

// figures are what the tests that break things have done, for people to read.
var figures struct {
	sync.Mutex
	order  []string
	counts map[string]int
	lost   int // how often something was not as it was promised
}

// tally adds to a figure, such as "kills".
func tally(what string, n int) {
	figures.Lock()
	defer figures.Unlock()
	if figures.counts == nil {
		figures.counts = make(map[string]int)
	}
	if _, known := figures.counts[what]; !known {
		figures.order = append(figures.order, what)
	}
	figures.counts[what] += n
}

// printFigures prints them, for "make torture".
func printFigures(w io.Writer) {
	figures.Lock()
	defer figures.Unlock()
	if !torture {
		return
	}
	for _, what := range figures.order {
		fmt.Fprintf(w, "%8d  %s\n", figures.counts[what], what)
	}
	fmt.Fprintf(w, "%8d  lost\n", figures.lost)
}

// some takes about n of all things, at equal distances from a random start; for
// "make torture" all of them.
func some[T any](t *testing.T, all []T, n int) []T {
	t.Helper()
	if torture || len(all) <= n {
		return all
	}
	step := float64(len(all)) / float64(n)
	at := rand.New(rand.NewPCG(*faultSeed, uint64(len(all)))).Float64() * step
	t.Logf("%d of %d, -fault-seed %d", n, len(all), *faultSeed)
	var taken []T
	for ; int(at) < len(all); at += step {
		taken = append(taken, all[int(at)])
	}
	return taken
}
