package sched

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// ownAsk is the second line of ownLine.
const ownAsk = `11,26,41,56 * * * * '/usr/local/bin/tinybackup' run --job 3f2a91c0`

func TestCronSecondLine(t *testing.T) {
	for _, test := range []struct {
		times string
		asks  bool
	}{
		{"30 2 * * *", true},
		{"0 * * * *", true},
		{"@monthly", true},
		{"2:00 monday", true},
		{"0 2 29 2 *", true},
		{"*/20 9-17 * * *", true}, // not at night
		{"*/30 * * * 1-5", true},  // not on Sunday
		{"0,31 * * * *", true},
		{"*/30 * * * *", false},
		{"+ 30 minutes", false},
		{"*/20 * * * *", false},
		{"11,26,41,56 * * * *", false},
		{"* * * * *", false},
	} {
		spec := parse(t, test.times)
		fields, err := spec.Cron()
		if err != nil {
			t.Fatal(err)
		}
		e := Entry{Job: ownJob, Binary: "/usr/local/bin/tinybackup", Spec: spec, CatchUp: true}
		first := fields + " " + Command(e.Binary, e.Job)
		want := first
		if test.asks {
			want += "\n" + ownAsk
		}
		if line, err := (&Cron{}).Line(e); err != nil || line != want {
			t.Errorf("%q: got %q, %v, want %q", test.times, line, err, want)
		}
		e.CatchUp = false
		if line, err := (&Cron{}).Line(e); err != nil || line != first {
			t.Errorf("%q without catching up: got %q, %v, want %q", test.times, line, err, first)
		}
	}
}

// The minutes are those of the id, wherever the job's file is, and spread.
func TestAskFields(t *testing.T) {
	if got, want := askFields("/srv/jobs/3f2a91c0.ini"), askFields(ownJob); got != want {
		t.Errorf("a path: got %q, want %q", got, want)
	}
	seen := make(map[string]int)
	for i := range 1500 {
		job := fmt.Sprintf("%08x", i*2654435761%(1<<32))
		fields := askFields(job)
		seen[fields]++
		spec := parse(t, fields)
		first, _ := spec.Next(spec.Anchor)
		second, _ := spec.Next(first)
		if second.Sub(first) != askEvery || first.Sub(spec.Anchor) > askEvery {
			t.Fatalf("%s: %q asks at %v and %v", job, fields, first, second)
		}
	}
	if len(seen) != 15 {
		t.Errorf("got %d different minutes, want 15", len(seen))
	}
	for fields, n := range seen {
		if n < 50 || n > 200 {
			t.Errorf("%q is that of %d of 1500 jobs", fields, n)
		}
	}
}

// What List makes of a table, and that Remove counts alike.
func TestCronListsSecondLines(t *testing.T) {
	const quarter = `11,26,41,56 * * * * '/b' run --job 3f2a91c0`
	for _, test := range []struct {
		name string
		text []string
		want string // of each entry the line, with a "+" if it has a second one
	}{
		{"as written", []string{"# a", ownLine, ownAsk}, "2+"},
		{"without the second", []string{ownLine}, "1"},
		{"the second alone", []string{ownAsk}, "1"},
		{"moved", []string{ownAsk, "# a", ownLine}, "3+"},
		{"the second twice", []string{ownLine, ownAsk, ownAsk}, "1+ 3"},
		{"the first twice", []string{ownLine, ownLine, ownAsk}, "1+ 2"},
		{"both twice", []string{ownLine, ownAsk, ownLine, ownAsk}, "1+ 3 4"},
		{"other minutes", []string{ownLine, strings.Replace(ownAsk, "11,", "12,", 1)}, "1 2"},
		{"other spaces", []string{ownLine, strings.Replace(ownAsk, " * ", "  * ", 1)}, "1 2"},
		{"another program", []string{ownLine, quarter}, "1 2"},
		{"another job's", []string{otherOwn, ownAsk}, "1 2"},
		{"other times in the first", []string{"@reboot" + ownLine[len("30 2 * * *"):], ownAsk}, "1+"},
		{"a schedule with the second's times", []string{quarter}, "1"},
		{"that, twice", []string{quarter, quarter}, "1 2"},
		{"every ten minutes, and a second line", []string{"*/10 * * * *" + ownLine[len("30 2 * * *"):], ownAsk}, "1 2"},
		{"commented out", []string{ownLine, "#" + ownAsk}, "1"},
		{"two jobs", []string{ownLine, ownAsk, otherOwn, askLine("/usr/local/bin/tinybackup", "00000001")}, "1+ 3+"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Join(test.text, "\n") + "\n"
			c := newCron(t, &fakeCrontab{table: &text})
			entries, err := c.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			counts := make(map[string]int)
			for _, e := range entries {
				where := strings.TrimPrefix(e.Where, "crontab line ")
				if e.CatchUp {
					where += "+"
				}
				got = append(got, where)
				counts[e.Job]++
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			for job, want := range counts {
				if n, err := c.Remove(t.Context(), job); n != want || err != nil {
					t.Errorf("Remove of %s: got %d, %v, want %d", job, n, err, want)
				}
			}
		})
	}
}

// Both lines are put in the place of whatever there was, side by side.
func TestCronAddsBothLines(t *testing.T) {
	both := ownLine + "\n" + ownAsk
	e := cronEntry(t)
	for _, test := range []struct {
		name       string
		text, want []string
	}{
		{"nothing", nil, []string{both}},
		{"foreign", []string{"# a"}, []string{"# a", both}},
		{"the first", []string{"# a", ownLine, "# b"}, []string{"# a", both, "# b"}},
		{"both", []string{"# a", ownLine, ownAsk, "# b"}, []string{"# a", both, "# b"}},
		{"apart", []string{ownAsk, "# a", ownLine, "# b"}, []string{both, "# a", "# b"}},
		{"several", []string{"# a", ownLine, ownLine, "# b", ownAsk, ownAsk}, []string{"# a", both, "# b"}},
		{"of other jobs", []string{otherOwn, ownAsk, otherOwn}, []string{otherOwn, both, otherOwn}},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := func(lines []string) string { return strings.Join(append(slices.Clone(lines), ""), "\n") }
			text := table(test.text)
			f := &fakeCrontab{table: &text}
			c := newCron(t, f)
			e.CatchUp = true
			for range 2 {
				if err := c.Add(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				if got, want := *f.table, table(test.want); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			e.CatchUp = false
			if err := c.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			if got, want := *f.table, strings.Replace(table(test.want), both, ownLine, 1); got != want {
				t.Errorf("with the first alone: got %q, want %q", got, want)
			}
		})
	}
}
