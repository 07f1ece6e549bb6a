package tinybackup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

// A job's state follows from its record, what is in the destination and the clock of
// that; the clock of its host may be wrong.
func TestJudge(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	good := func() Record {
		last := &HistoryEntry{Start: at, End: at.Add(time.Minute), Result: ResultOK, Archive: "a-20261121T023000Z.tar.zst"}
		return Record{
			Recorded: at, Host: "nas", Job: "0000000a", Name: "a", Time: "@daily", Last: last, LastGood: last,
			Next: at.Add(24 * time.Hour), LateAfter: at.Add(25 * time.Hour), SilentAfter: at.Add(49 * time.Hour),
		}
	}
	for _, c := range []struct {
		name  string
		after time.Duration // now is so much later
		edit  func(*Record)
		heard time.Duration // the destination's clock is so much ahead of the host's
		want  State
		why   string
	}{
		{name: "in time", after: 24 * time.Hour, want: StateOK},
		{name: "at the last moment", after: 25 * time.Hour, want: StateOK},
		{name: "late", after: 25*time.Hour + 1, want: StateLate, why: "nothing was heard of its run of Sun 2026-11-22 02:30"},
		{name: "silent", after: 50 * time.Hour, want: StateSilent, why: "nothing was heard of it for 2d 2h, since Sat 2026-11-21 02:30"},
		{name: "warned", want: StateOK, why: "2 warnings", edit: func(r *Record) { r.Last.Warnings = 2 }},
		{name: "failed", want: StateFailed, why: "it failed on Sat 2026-11-21 02:30: no space", edit: failing(1)},
		{name: "failing", want: StateFailed, why: "it failed 3 times since Thu 2026-11-19", edit: failing(3)},
		{name: "failed, and late", after: 26 * time.Hour, want: StateFailed, edit: failing(1)},
		{name: "silent, of no job", after: 50 * time.Hour, want: StateSilent, edit: func(r *Record) { r.Job = "" }},
		{name: "failed, and silent", after: 50 * time.Hour, want: StateSilent, edit: failing(1)},
		{name: "removed", after: 500 * time.Hour, want: StateRemoved, edit: func(r *Record) { r.Removed = at }},
		{name: "by hand", after: 9000 * time.Hour, want: StateOK, edit: func(r *Record) { r.Job, r.Next = "", time.Time{} }},
		{name: "no run to come", after: 9000 * time.Hour, want: StateOK, edit: func(r *Record) { r.Next, r.LateAfter, r.SilentAfter = time.Time{}, time.Time{}, time.Time{} }},
		{name: "archive gone", want: StateBroken, why: "is gone", edit: func(r *Record) { r.LastGood.Archive = "a-20261121T023001Z.tar.zst" }},
		{name: "archive rotated", want: StateOK, edit: func(r *Record) { r.LastGood.Archive = "a-20261120T023000Z.tar.zst" }},
		{name: "archive nonsense", want: StateOK, edit: func(r *Record) { r.LastGood.Archive = "../../etc/passwd" }},
		{name: "its clock is behind", after: 3*time.Hour + 24*time.Hour, heard: 3 * time.Hour, want: StateOK},
		{name: "its clock is behind, and it is late", after: 3*time.Hour + 26*time.Hour, heard: 3 * time.Hour, want: StateLate},
		{name: "its clock is ahead", after: 23 * time.Hour, heard: -3 * time.Hour, want: StateLate},
		{name: "its clock is of another age", heard: 50 * 365 * 24 * time.Hour, after: 50 * 365 * 24 * time.Hour, want: StateOK},
	} {
		r := good()
		if c.edit != nil {
			c.edit(&r)
		}
		newest, _ := rotate.ParseName("a-20261121T023000Z.tar.zst")
		j := FleetJob{Name: "a", Heard: at.Add(c.heard), Record: "/dst/.tinybackup/a.status"}
		j.from(r)
		j.judge(r, newest, at.Add(c.after))
		if j.State != c.want || !strings.Contains(j.Why, c.why) || j.OK != (c.want == StateOK || c.want == StateRemoved) {
			t.Errorf("%s: %s (%v): %s; want %s: %s", c.name, j.State, j.OK, j.Why, c.want, c.why)
		}
		if strings.HasPrefix(j.Mend, ";") {
			t.Errorf("%s: mend it: %s", c.name, j.Mend)
		}
		if note := j.clockNote(); (note != "") != (c.heard != 0) {
			t.Errorf("%s: its clock is %v off: %q", c.name, -c.heard, note)
		}
	}
}

// failing makes a record one of so many failed runs.
func failing(n int) func(*Record) {
	return func(r *Record) {
		r.Last = &HistoryEntry{Start: r.Last.Start, End: r.Last.End, Result: ResultFailed, Error: "no space"}
		r.Failures, r.Failing = n, r.Last.Start.Add(time.Duration(1-n)*24*time.Hour)
	}
}

// FuzzRecord: whatever stands in a record, it is refused or shown in harmless lines.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"host":"nas","name":"a","job":"0000000a","last":{"result":"ok"},"next":"2026-11-21T02:30:00Z"}`))
	f.Add([]byte(`{"version":1,"host":"n\u001b[2Jas","name":"a","last":{"result":"failed","error":"a\nb\u202e"},"failures":9}`))
	f.Add([]byte(`{"version":1,"host":"n","name":"a","last":{"start":"9999-12-31T23:59:59Z"},"recorded":"0001-01-01T00:00:00Z","removed":"9999-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"version":2}`))
	now := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord("a", data)
		j := FleetJob{Name: "a", Heard: now}
		if err != nil {
			j.unread(err)
		} else {
			j.from(r)
			j.judge(r, rotate.Name{}, now)
		}
		text := j.headline() + j.problems() + j.detail(time.UTC) + strings.Join(j.row(now), " ")
		for _, c := range text {
			if c < ' ' && c != '\n' || c == 0x7f || c == 0x202e {
				t.Fatalf("%q is shown as %q", data, text)
			}
		}
		if _, err := json.Marshal(j); err != nil {
			t.Fatal(err)
		}
	})
}

// What it takes to tell of fifty hosts grows with what there is to list, and with their
// number; and one that cannot be read hides no other.
func TestFleetRequests(t *testing.T) {
	t.Parallel()
	const hosts, archives = 50, 200
	b, m := newRemoteBench(t)
	for h := range hosts {
		host := fmt.Sprintf("host%02d", h)
		name := ""
		for i := range archives {
			name = rotate.Name{Series: "home", Time: b.clock.Add(time.Duration(i-archives) * time.Hour), Kind: rotate.KindDir, Codec: "zstd"}.String()
			m.Set(host+"/"+name, "x")
		}
		last := &HistoryEntry{Start: b.clock, End: b.clock, Result: ResultOK, Archive: name}
		data, err := json.Marshal(Record{Version: recordVersion, Recorded: time.Now(), Host: host, Name: "home", Last: last, LastGood: last})
		if err != nil {
			t.Fatal(err)
		}
		m.Set(host+"/"+store.SideDir+"/home.status", string(data))
	}
	f, err := FleetOf(t.Context(), b.env, FleetOptions{Dest: b.dst})
	if err != nil || len(f.Jobs) != hosts || !f.OK {
		t.Fatalf("%d jobs, ok %v, %v", len(f.Jobs), f.OK, err)
	}
	if j := f.Jobs[7]; j.Host != "host07" || j.Archives != archives || j.State != StateOK {
		t.Errorf("%+v", j)
	}
	pages := hosts*(archives+1)/1000 + 1
	if lists, gets := m.Requests("list"), m.Requests("get"); lists > pages*(hosts+2)+hosts || gets != hosts {
		t.Errorf("%d lists and %d reads", lists, gets)
	}
	// The server's clock cannot be asked for where nothing may be written.
	m.Fail = func(method, key string) error {
		if method == "now" {
			return &store.Error{Op: method, Err: fs.ErrPermission}
		}
		return nil
	}
	if f, err := FleetOf(t.Context(), b.env, FleetOptions{Dest: b.dst}); err != nil || len(f.Jobs) != hosts || !f.OK {
		t.Errorf("without the server's clock: %d jobs, ok %v, %v", len(f.Jobs), f.OK, err)
	}
	m.Fail = func(method, key string) error {
		if strings.HasPrefix(key, "host03/") {
			return &store.Error{Op: method, Path: key, Err: errors.New("no route")}
		}
		return nil
	}
	f, err = FleetOf(t.Context(), b.env, FleetOptions{Dest: b.dst})
	if err != nil || len(f.Jobs) != hosts || f.OK || f.Jobs[0].State != StateBroken || f.Jobs[1].State != StateOK {
		t.Errorf("one is away: %d jobs, ok %v, %v: %+v", len(f.Jobs), f.OK, err, f.Jobs[0])
	}
	m.Fail = func(string, string) error { return errors.New("no route") }
	if _, err := FleetOf(t.Context(), b.env, FleetOptions{Dest: b.dst}); err == nil {
		t.Error("all is away, and that is no error")
	}
}

// Who uninstalls a job hears it if its record could not be told.
func TestInform(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	gone := place{job: "0000000a", options: Options{Name: "notes", Dest: b.dst}}
	inform(t.Context(), b.env, []place{gone, {job: gone.job, options: Options{Name: "notes", Dest: b.src + "/nowhere"}}})
	if text := b.log.String(); strings.Contains(text, "WARN") {
		t.Errorf("all is well, and there is no such directory:\n%s", text)
	}
	m.Fail = func(method, key string) error { return &store.Error{Op: method, Err: errors.New("no route")} }
	inform(t.Context(), b.env, []place{gone})
	if text := b.log.String(); !strings.Contains(text, "WARN") || !strings.Contains(text, "does not know that job 0000000a is gone from there: ") || !strings.Contains(text, "no route") {
		t.Errorf("it cannot be reached:\n%s", text)
	}
}

// Jobs of one name and host are told from each other by where their archives are.
func TestFleetNamesakes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var out strings.Builder
	b.env.Stdout = &out
	f := Fleet{Dest: "/srv", Jobs: []FleetJob{
		{Host: "nas", Name: "home", Dest: "/srv", State: StateOK, OK: true},
		{Host: "nas", Name: "home", Dest: "/srv/copy", State: StateLate},
		{Host: "nas", Name: "photos", Dest: "/srv/copy", State: StateLate},
		{Host: "pi", Name: "home", Dest: "/srv/pi", State: StateOK, OK: true},
	}}
	if err := f.print(b.env, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nnas   home in .     ?", "\n      home in copy  ?", "\n      photos        ?", "\npi    home          ?", "home on nas is late\n  in /srv/copy\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "  in /srv/copy"); n != 1 {
		t.Errorf("where it is stands there %d times", n)
	}
}

// A destination that takes a connection and says nothing is not waited for.
func TestFleetSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		env := Env{Now: time.Now, openRemote: func(context.Context, string, Access) (store.Driver, error) {
			return mute{storetest.NewMemory()}, nil
		}}
		begin := time.Now()
		_, err := FleetOf(t.Context(), env, FleetOptions{Dest: "sftp://nas/backup"})
		if !errors.Is(err, errSilent) || hintOf(err) == "" || time.Since(begin) > remoteLimit {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// mute is a destination that never tells the time.
type mute struct{ *storetest.Memory }

func (mute) Now(ctx context.Context) (time.Time, error) {
	<-ctx.Done()
	return time.Time{}, ctx.Err()
}

// A record whose file has a time that JSON knows none of hides no other: some file
// systems have such times.
func TestHeardAt(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("", 14*60*60)
	for year, known := range map[int]bool{-5: false, 1: false, 2026: true, 9999: false, 12000: false} {
		at := time.Date(year, 12, 31, 23, 59, 0, 0, time.UTC)
		f := Fleet{Jobs: []FleetJob{{Heard: heardAt(store.Object{ModTime: at}, time.Now().In(east))}}}
		if _, err := json.Marshal(f); err != nil || f.Jobs[0].Heard.Equal(at) != known {
			t.Errorf("%d: heard at %v, %v", year, f.Jobs[0].Heard, err)
		}
	}
}

// A run leaves its record, and is none the worse if it can't.
func TestLeaveRecord(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	b.env.host = "nas"
	read := func() Record {
		t.Helper()
		r, err := readRecord(t.Context(), store.NewRemote(m), "notes")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if _, err := b.run(func(o *Options) { o.Source += "/nowhere" }); err == nil || len(m.Keys()) > 0 {
		t.Fatalf("a first run that failed left %q: %v", m.Keys(), err)
	}
	first := b.good(nil)
	if r := read(); r.Host != "nas" || r.Source != b.src || r.LastGood.Archive != first.Archive || r.Archives != 1 || r.Failures != 0 {
		t.Errorf("after a run: %+v", r)
	}
	m.Fail = func(method, key string) error {
		if method == "put" && strings.HasSuffix(key, recordSuffix) {
			return errors.New("no room for a record")
		}
		return nil
	}
	if r := b.good(nil); r.WarningCount != 0 || !strings.Contains(b.log.String(), "no room for a record") {
		t.Errorf("%q; log:\n%s", r.Warnings, b.log.String())
	}
	broken := errors.New("connection to https://me:geheim@nas was cut")
	m.Fail = func(method, key string) error {
		if method == "commit" {
			return broken
		}
		return nil
	}
	b.write("todo.txt", "bread\n")
	for range 2 {
		if _, err := b.run(nil); err == nil {
			t.Fatal("stored")
		}
	}
	r := read()
	if r.Failures != 2 || r.LastGood.Archive != first.Archive || !strings.Contains(r.Last.Error, "was cut") || strings.Contains(r.Last.Error, "geheim") {
		t.Errorf("after failures: %+v, last %+v", r, r.Last)
	}
	// Somebody else's record stays, if all there is to tell is a failure.
	b.env.host = "other"
	other := b.src + "2"
	b.mkdir(other)
	if _, err := b.run(func(o *Options) { o.Source, o.Name = other, "notes" }); err == nil {
		t.Fatal("stored")
	}
	if now := read(); now.Host != "nas" || now.Failures != 2 {
		t.Errorf("another host wrote %+v", now)
	}
}

// What a record says of archives that are encrypted is no more than what is seen of
// them.
func TestSealedRecord(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	b.good(func(o *Options) {
		o.Encrypt = []string{"age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z"}
	})
	text := m.Object(store.SideDir + "/notes.status")
	if text == "" || strings.Contains(text, b.src) || !strings.Contains(text, `"owner"`) {
		t.Errorf("the record is %s", text)
	}
}

// A destination that does not answer any more holds nobody up.
func TestSoon(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hang := make(chan struct{})
	defer close(hang)
	err := soon(ctx, "sftp://nas/x", recordLimit, func(ctx context.Context) error {
		if ctx.Err() != nil {
			t.Error("it has no time at all")
		}
		<-hang
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}
