package sched

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// FuzzQueue reads anything as the output of atq: each row of it is understood, or none.
func FuzzQueue(f *testing.F) {
	for _, text := range []string{
		"204\t1795251720 t root\n", "204\tSat Nov 21 09:02:00 2026 t root\n", "204\t2026-11-21 09:02 = a-b.c", "1\t-1 t x\n", "\n",
		"1\t99999999999999999 t root\n2\tx t root\n", "1\t1 t root\r\n", "1\t1\x00 t root\n", "1\t 1  \u00a0 t root\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		jobs, err := parseQueue(text)
		if rows := strings.Count(text, "\n"); err == nil && (len(jobs) < rows || len(jobs) > rows+1) {
			t.Errorf("%q: %d jobs in %d rows", text, len(jobs), rows)
		}
		for _, job := range jobs {
			if job.id == "" || strings.ContainsAny(job.id, "\t\n") || job.user == "" || job.queue == 0 {
				t.Errorf("%q: job %+v", text, job)
			}
			if when := job.when.Unix(); when < 0 || when > 1<<40 {
				continue // no time that atq shows
			}
			row := fmt.Sprintf("%s\t%d %s %s\n", job.id, job.when.Unix(), []byte{job.queue}, job.user)
			if again, err := parseQueue(row); err != nil || again[0] != job {
				t.Errorf("%q, read as %+v, is %+v when it is read again (%v)", text, job, again, err)
			}
		}
	})
}

// FuzzLastCommand finds a job's command behind whatever at puts before it, and takes
// nothing else for one.
func FuzzLastCommand(f *testing.F) {
	for _, head := range []string{atHead, "", "\n", "${SHELL:-/bin/sh} << 'marcinDELIMITER0a'\n", "X='\n'; export X\n", "'/b' run --job 3f2a91c0 </dev/null\n"} {
		f.Add(head, "/usr/bin/tb")
		f.Add(head+"marcinDELIMITER0a", "/it's $HOME/`x`/%")
	}
	f.Fuzz(func(t *testing.T, head, binary string) {
		if checkCommand(binary, ownJob) == nil {
			command := Command(binary, ownJob)
			text := head + "\n" + command + bodyEnd + "\n"
			if got := lastCommand(text); got != command {
				t.Errorf("%q: got %q, want %q", text, got, command)
			}
		}
		// What is found is a whole line of the text.
		if got := lastCommand(head); got != "" && !strings.Contains("\n"+head+"\n", "\n"+got+bodyEnd+"\n") {
			t.Errorf("%q: found %q", head, got)
		}
	})
}

// FuzzTime asks when a time comes, in zones that change their clocks: always later, and
// never twice.
func FuzzTime(f *testing.F) {
	for _, text := range []string{"2:30", "30 2 * * *", "@hourly", "now + 1 day", "monday 9:00", "31.12.", "29.02. 12:00", "*/7 * * * *", "0 0 29 2 *"} {
		f.Add(text, int64(1795246980), uint8(1))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64, zone uint8) {
		anchor := time.Unix(floorMod(unix, 300*366*24*3600), 0).In(loadZone(t, clockZones[int(zone)%len(clockZones)]))
		s, err := Parse(text, anchor)
		if err != nil {
			return
		}
		at := anchor
		for range 20 {
			next, ok := s.Next(at)
			if !ok {
				return
			}
			if !next.After(at) {
				t.Fatalf("%q from %v: after %v comes %v", text, anchor, at, next)
			}
			if before, ok := s.Prev(next.Add(-time.Nanosecond)); ok && before.After(at) {
				t.Fatalf("%q from %v: %v is between %v and the next, %v", text, anchor, before, at, next)
			}
			at = next
		}
	})
}
