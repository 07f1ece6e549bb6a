package notify_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/notify"
	"tinybackup/internal/notify/notifytest"
)

func TestPing(t *testing.T) {
	t.Parallel()
	web := notifytest.NewWeb(t, notifytest.Healthchecks(checkID))
	c, pauses := quick(nil)
	rid := notify.NewRID()
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(rid) || rid == notify.NewRID() {
		t.Errorf("rid: got %q", rid)
	}
	to := web.URL + "/" + checkID
	for _, p := range []notify.Ping{
		{Signal: notify.PingStart, RID: rid},
		{Signal: notify.PingSuccess, RID: rid, Body: "all well\n"},
		{Signal: "1", RID: rid, Body: "source is gone\n"},
		{},
	} {
		if err := c.Ping(t.Context(), to+"?create=1", p); err != nil {
			t.Fatal(err)
		}
		calls := web.Calls()
		got := calls[len(calls)-1]
		want := "/" + checkID
		if p.Signal != "" {
			want += "/" + p.Signal
		}
		if got.Method != "POST" || got.Path != want || got.Query.Get("rid") != p.RID || got.Query.Get("create") != "1" || got.Body != p.Body {
			t.Errorf("ping %+v: got %+v", p, got)
		}
	}
	check(t, c.Ping(t.Context(), web.URL+"/nosuch", notify.Ping{}), "ping: 404 Not Found: not found", false)
	if len(*pauses) != 0 {
		t.Errorf("pauses: %v", *pauses)
	}
	n := 0
	web.Respond(func(c notifytest.Call) notifytest.Answer {
		if n++; n < 3 {
			return notifytest.Answer{Status: 502}
		}
		return notifytest.Healthchecks(checkID)(c)
	})
	if err := c.Ping(t.Context(), to, notify.Ping{}); err != nil || !slices.Equal(*pauses, []time.Duration{time.Second, 2 * time.Second}) {
		t.Errorf("third try: got %v, pauses %v", err, *pauses)
	}
}

// Of a long log the end is sent, in whole lines.
func TestPingBody(t *testing.T) {
	t.Parallel()
	web := notifytest.NewWeb(t, nil)
	c, _ := quick(nil)
	for _, body := range []string{
		strings.Repeat("0123456789\n", 10_000) + "the last\n",
		strings.Repeat("ä", 10_000),
		strings.Repeat("x", notify.MaxBody-2) + "\n",
	} {
		if err := c.Ping(t.Context(), web.URL, notify.Ping{Body: body}); err != nil {
			t.Fatal(err)
		}
		calls := web.Calls()
		got := calls[len(calls)-1].Body
		if len(got) > notify.MaxBody || len(got) < notify.MaxBody-20 || !strings.HasSuffix(body, got) {
			t.Errorf("got %d bytes %.20q…, which are not the end of it", len(got), got)
		}
		if strings.Contains(body, "last") && !strings.HasPrefix(got, "0123456789\n") {
			t.Errorf("got %.20q…, which begins within a line", got)
		}
	}
}

func TestCheckPing(t *testing.T) {
	t.Parallel()
	for url, good := range map[string]bool{
		"https://hc-ping.com/" + checkID: true, "http://localhost:8000/ping/x/slug?create=1": true,
		"": false, "hc-ping.com/x": false, "ftp://x/y": false, "https:///x": false, "https://a b/": false, "telegram://a@b": false,
	} {
		if err := notify.CheckPing(url); (err == nil) != good {
			t.Errorf("%q: got %v, want an error: %v", url, err, !good)
		}
	}
}
