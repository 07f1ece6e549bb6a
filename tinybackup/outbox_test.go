package tinybackup

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/notify"
)

var outboxNow = time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)

func TestOutboxPrune(t *testing.T) {
	t.Parallel()
	box := outbox{Silent: map[string]silence{"a": {}, "gone": {}}}
	add := func(age time.Duration, ping bool, to ...string) {
		l := letter{At: outboxNow.Add(-age), To: to, Title: fmt.Sprint(age)}
		if ping {
			l.Ping = &notify.Ping{}
		}
		box.Waiting = append(box.Waiting, l)
	}
	add(7*24*time.Hour+time.Second, false, "a")
	add(7*24*time.Hour, false, "a", "gone")
	add(25*time.Hour, true, "ping")
	add(24*time.Hour, true, "ping")
	add(time.Hour, false, "gone")
	add(time.Hour, false, "ping") // a damaged file: neither is of that kind
	add(time.Hour, true, "a")
	box.prune(outboxNow, []string{"a", "ping"})
	if len(box.Waiting) != 2 || !reflect.DeepEqual(box.Waiting[0].To, []string{"a"}) || box.Waiting[1].Ping == nil || len(box.Silent) != 1 {
		t.Errorf("got %+v", box)
	}
	for i := range 30 {
		add(-time.Duration(i)*time.Minute, false, "a")
	}
	box.prune(outboxNow.Add(30*time.Minute), []string{"a", "ping"})
	if n := len(box.Waiting); n != outboxLetters || box.Waiting[n-1].Title != "-29m0s" {
		t.Errorf("got %d letters, the last %q", n, box.Waiting[n-1].Title)
	}
}

func TestOutboxPauses(t *testing.T) {
	t.Parallel()
	var box outbox
	var got []string
	for i := range 9 {
		if first := box.failed("a", "why", outboxNow); first != (i == 0) {
			t.Errorf("try %d: first is %v", i, first)
		}
		got = append(got, box.Silent["a"].Next.Sub(outboxNow).String())
	}
	if want := "5m0s 10m0s 20m0s 40m0s 1h20m0s 2h40m0s 5h20m0s 6h0m0s 6h0m0s"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A clock that was a year ahead for once does not silence a service for a year.
func TestOutboxRests(t *testing.T) {
	t.Parallel()
	s := silence{Next: outboxNow}
	for _, c := range []struct {
		ahead time.Duration // Next is so much
		want  bool
	}{{0, false}, {-time.Hour, false}, {time.Second, true}, {outboxMaxPause, true}, {365 * 24 * time.Hour, false}} {
		if got := s.rests(outboxNow.Add(-c.ahead)); got != c.want {
			t.Errorf("%v ahead: got %v, want %v", c.ahead, got, c.want)
		}
	}
}

func TestOutboxFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "job", "outbox.json")
	if box, err := readOutbox(path); err != nil || !box.empty() {
		t.Errorf("no file: got %+v, %v", box, err)
	}
	box := outbox{Waiting: []letter{{At: outboxNow, To: []string{"a", "b"}, Text: "x"}, {At: outboxNow, To: []string{"b"}}}, Unable: "why"}
	if err := box.write(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info, err)
	}
	back, err := readOutbox(path)
	if err != nil || !reflect.DeepEqual(back, box) {
		t.Errorf("got %+v, %v", back, err)
	}
	// What is on the disk is not written again.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := back.write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("written though nothing has changed: %v", err)
	}
	back.delivered("b", []bool{true, false})
	if len(back.Waiting) != 2 || len(back.Waiting[0].To) != 1 || back.waitingFor("b") != 1 {
		t.Errorf("one letter delivered: got %+v", back.Waiting)
	}
	back.delivered("b", []bool{true})
	back.delivered("a", []bool{true})
	back.Unable = ""
	if err := back.write(path); err != nil || !back.empty() {
		t.Errorf("all delivered: got %+v, %v", back, err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("an empty outbox is a file: %v", err)
	}
	// A damaged one keeps nobody from being told anything new.
	if err := os.WriteFile(path, []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if box, err := readOutbox(path); err != nil || !box.empty() || !box.torn {
		t.Errorf("damaged: got %+v, %v", box, err)
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	got := labels([]ServiceURL{"ntfy://a/b", "telegram://1:x@telegram?chats=a", "ntfy://c/d", "ntfy://e/f"})
	if want := []string{"ntfy", "telegram", "ntfy 2", "ntfy 3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
