package tinybackup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/sched"
)

// manyJobs makes n jobs of cron that have run for long: each with a history of
// lines lines, and three archives in one of ten destinations.
func manyJobs(tb testing.TB, n, lines int) Env {
	tb.Helper()
	dir := tb.TempDir()
	now := time.Date(2026, 11, 21, 9, 7, 0, 0, time.UTC)
	const binary = "/bin/sh" // a program that is there
	env := Env{
		Dirs: Dirs{Jobs: filepath.Join(dir, "jobs"), State: filepath.Join(dir, "state"), Log: filepath.Join(dir, "log"), Plain: true},
		Now:  func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Binary: binary,
	}
	source := filepath.Join(dir, "src")
	if err := os.Mkdir(source, 0o700); err != nil {
		tb.Fatal(err)
	}
	put := func(path string, data []byte) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	put(filepath.Join(source, "a"), []byte("a"))
	var table strings.Builder
	for i := range n {
		id := fmt.Sprintf("%08x", i+1)
		name := fmt.Sprintf("job%04d", i)
		o := Options{Source: source, Dest: filepath.Join(dir, fmt.Sprintf("dst%d", i%10)), Name: name}
		o.fillDefaults()
		job := Job{ID: id, Path: filepath.Join(env.Dirs.Jobs, id+".ini"), Time: fmt.Sprintf("%d:%02d", i%2, i/2%60), Scheduler: "cron", Installed: now.AddDate(-3, 0, 0), Options: o}
		job.StateDir, job.LogFile = jobDefaults(env.Dirs, id, name)
		var text strings.Builder
		parts, err := job.sections(env.Dirs, nil)
		if err != nil {
			tb.Fatal(err)
		}
		writeINI(&text, parts...)
		put(job.Path, []byte(text.String()))
		spec, err := job.Spec()
		if err != nil {
			tb.Fatal(err)
		}
		line, err := (&sched.Cron{}).Line(job.entry(env.Dirs, binary, spec, time.Time{}))
		if err != nil {
			tb.Fatal(err)
		}
		table.WriteString(line + "\n")
		var history bytes.Buffer
		for k := range lines {
			at := time.Date(2026, 11, 21, 2, 30, 1, 0, time.UTC).AddDate(0, 0, k+1-lines)
			an := rotate.Name{Series: name, Time: at, Kind: rotate.KindDir, Codec: "none"}
			e := HistoryEntry{
				Slot: at.Add(-time.Second), Start: at, End: at.Add(time.Minute), Result: ResultOK,
				Archive: an.String(), Read: 12345, Raw: 1 << 20, Written: 10240, Entries: 321,
			}
			data, err := json.Marshal(e)
			if err != nil {
				tb.Fatal(err)
			}
			history.Write(append(data, '\n'))
			if k >= lines-3 {
				put(filepath.Join(o.Dest, an.String()), make([]byte, 10240))
				m := archive.Manifest{
					Version: archive.ManifestVersion, Archive: an.String(), Job: id, Source: source, Kind: archive.KindDir, Codec: archive.CodecNone,
					Start: at, End: at, Raw: 10240, Size: 10240, SHA256: strings.Repeat("0", 64), Entries: 321, Serial: 1, Policy: o.Policy().String(),
					Frames: []archive.Frame{{Len: 10240, Raw: 10240}},
				}
				data, err := m.Encode()
				if err != nil {
					tb.Fatal(err)
				}
				put(filepath.Join(o.Dest, ".tinybackup", archive.SideName(an.String())), data)
			}
		}
		put(job.History().path(), history.Bytes())
		book := slotBook{
			Settled: now.Truncate(24 * time.Hour).Add(150 * time.Minute), Dest: o.Dest,
			Archive: rotate.Name{Series: name, Time: time.Date(2026, 11, 21, 2, 30, 1, 0, time.UTC), Kind: rotate.KindDir, Codec: "none"}.String(),
		}
		kept, err := json.Marshal(keptBook{book, book.sum()})
		if err != nil {
			tb.Fatal(err)
		}
		put(job.slotsPath(), kept)
	}
	crontab := table.String()
	run := func(_ context.Context, p sched.Program) (sched.Output, error) {
		if p.Name == "crontab" {
			return sched.Output{Stdout: crontab}, nil
		}
		return sched.Output{}, nil
	}
	env.schedulers = []sched.Scheduler{
		scriptScheduler{&sched.Cron{Runner: sched.Runner{Exec: run}}},
		scriptScheduler{&sched.At{Runner: sched.Runner{Exec: run}}},
		serviceScheduler{env: env},
	}
	return env
}

// BenchmarkStatusOf1000 asks for the status of 1,000 jobs of cron with a thousand
// runs each.
func BenchmarkStatusOf1000(b *testing.B) {
	b.Setenv("TB_DAEMONS", "cron at")
	env := manyJobs(b, 1000, 1000)
	for b.Loop() {
		s, err := StatusOf(b.Context(), env, Selection{})
		if err != nil {
			b.Fatal(err)
		}
		if !s.OK || len(s.Jobs) != 1000 {
			b.Fatalf("not all is well: %d jobs, %+v", len(s.Jobs), s.Jobs[0])
		}
	}
}
