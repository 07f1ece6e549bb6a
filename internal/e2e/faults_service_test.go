//go:build linux && (amd64 || arm64)

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tinybackup/internal/e2e/faults"
)

// TestServiceStartBroken kills the start of the service before and after every call
// that changes something, and makes every call of it fail. The service itself is
// killed each time: it must come up once more, and end.
func TestServiceStartBroken(t *testing.T) {
	inside(t)
	t.Parallel()
	l := newLab(t)
	l.p.run(t, "install", "--quiet", "--scheduler", "service", "--time", "4:30", l.source, l.dest)
	l.args = []string{"start"}
	l.save()
	o := l.run(asItIs)
	l.wrong("nothing broken", l.startedAgain())
	tally("calls enumerated", len(o.Calls))
	for _, k := range some(t, changes(o.Calls), 3) {
		for _, a := range []faults.Action{faults.KillBefore, faults.KillAfter} {
			o := l.run(atChange(k, a))
			tally("kills", 1)
			l.wrong(l.where(o, len(o.Calls), a), l.startedAgain())
		}
	}
	l.eachError(some(t, errorsIn(o.Calls), 6), func(o faults.Outcome, f fault, a faults.Action) {
		var err error
		if o.Code > 1 || (o.Code == 0) == strings.Contains("\n"+o.Stderr, "\ntinybackup: error: ") {
			err = fmt.Errorf("exit %d: %s", o.Code, o.Stderr)
		}
		l.wrong(l.where(o, f.call, a), err, l.startedAgain())
	})
}

// startedAgain is what is wrong with starting the service, and with its end.
func (l *lab) startedAgain() error {
	l.t.Helper()
	var errs []error
	// Of this job alone: what other tests have in the queue of at comes and goes.
	for _, args := range [][]string{{"start"}, {"statusof", l.source, l.dest}, {"stop"}} {
		if o := l.p.try(l.t, args...); o.code != 0 {
			errs = append(errs, fmt.Errorf("%s: exit %d: %s%s", args[0], o.code, o.stdout, o.stderr))
		}
	}
	if left := l.left(); len(left) > 0 {
		errs = append(errs, fmt.Errorf("left behind: %q", left))
	}
	return errors.Join(errs...)
}
