package notify

import (
	"testing"
	"time"
)

func TestTimeout(t *testing.T) {
	t.Parallel()
	for rawURL, want := range map[string]time.Duration{
		"smtp://mail.example.org/?from=a@b.c&to=d@e.f": mailTimeout,
		"generic://example.org/hook":                   0, // the one of all
	} {
		s, err := open(rawURL)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Client{}).timeout(s); got != want {
			t.Errorf("%s: got %v, want %v", rawURL, got, want)
		}
		if got := (Client{Timeout: time.Minute}).timeout(s); got != time.Minute {
			t.Errorf("%s: got %v, want a minute", rawURL, got)
		}
	}
}
