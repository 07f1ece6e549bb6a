package rotate

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func policy(t testing.TB, s string) Policy {
	t.Helper()
	p, err := ParsePolicy(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCount(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want Count
		back string
	}{
		{"0", 0, "0"}, {"7", 7, "7"}, {"007", 7, "7"}, {"all", All, "all"}, {"2147483647", 2147483647, "2147483647"},
	} {
		var got Count
		if err := got.UnmarshalFlag(tc.text); err != nil || got != tc.want {
			t.Errorf("Count %q: got %d, %v, want %d", tc.text, got, err, tc.want)
		}
		if back, err := got.MarshalFlag(); err != nil || back != tc.back {
			t.Errorf("MarshalFlag of %q: got %q, %v, want %q", tc.text, back, err, tc.back)
		}
	}
	for _, text := range []string{"", "-1", "-7", "+7", " 7", "7 ", "7d", "1.5", "1e3", "0x7", "1_000", "ALL", "unlimited", "none", "2147483648", "99999999999999999999"} {
		got := Count(3)
		err := got.UnmarshalFlag(text)
		if err == nil || !strings.Contains(err.Error(), `is neither "all" nor a number`) {
			t.Errorf("Count %q: got %d, %v, want an error", text, got, err)
		}
		if got != 3 {
			t.Errorf("Count %q: got %d beside an error, want it left alone", text, got)
		}
	}
	if got, err := Count(-2).MarshalFlag(); err == nil {
		t.Errorf("MarshalFlag of -2: got %q, want an error", got)
	}
}

func TestPolicyString(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		policy Policy
		want   string
	}{
		{Policy{}, ""},
		{Policy{Last: 14}, "last=14"},
		{Policy{Last: All}, "last=all"},
		{Policy{Last: 14, Daily: 7, Within: Span{Days: 30}}, "last=14 daily=7 within=30d"},
		{Policy{1, 2, 3, 4, 5, All, Span{1, 2, 3, 4, 5}}, "last=1 hourly=2 daily=3 weekly=4 monthly=5 yearly=all within=1y2m3w4d5h"},
	} {
		if got := tc.policy.String(); got != tc.want {
			t.Errorf("%#v.String(): got %q, want %q", tc.policy, got, tc.want)
		}
		if got, err := ParsePolicy(tc.want); err != nil || got != tc.policy {
			t.Errorf("ParsePolicy(%q): got %#v, %v, want %#v", tc.want, got, err, tc.policy)
		}
		if got, want := tc.policy.IsZero(), tc.want == ""; got != want {
			t.Errorf("%q.IsZero(): got %v, want %v", tc.want, got, want)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want Policy
	}{
		{"  within=30d\tdaily=7\nlast=14 ", Policy{Last: 14, Daily: 7, Within: Span{Days: 30}}},
		{"last=0 within=0d", Policy{}},
	} {
		if got, err := ParsePolicy(tc.text); err != nil || got != tc.want {
			t.Errorf("ParsePolicy(%q): got %#v, %v, want %#v", tc.text, got, err, tc.want)
		}
	}
	for _, tc := range []struct{ text, want string }{
		{"last", `policy "last": "last" is not of the form RULE=VALUE`},
		{"last = 7", `policy "last = 7": "last" is not of the form RULE=VALUE`},
		{"last=7,daily=3", `policy "last=7,daily=3": last: count "7,daily=3": is neither "all" nor a number from 0 to 2147483647`},
		{"last=-1", `policy "last=-1": last: count "-1": is neither "all" nor a number from 0 to 2147483647`},
		{"last=", `policy "last=": last: count "": is neither "all" nor a number from 0 to 2147483647`},
		{"=7", `policy "=7": no such rule: ""`},
		{"Last=7", `policy "Last=7": no such rule: "Last"`},
		{"dayly=7", `policy "dayly=7": no such rule: "dayly"`},
		{"last=7 last=7", `policy "last=7 last=7": has "last" twice`},
		{"within=30d within=30d", `policy "within=30d within=30d": has "within" twice`},
		{"within=30", `policy "within=30": within: span "30": is not made of numbers with a unit, as in 36h, 30d, 8w or 2y6m`},
		{"last=7 daily=x", `policy "last=7 daily=x": daily: count "x": is neither "all" nor a number from 0 to 2147483647`},
	} {
		got, err := ParsePolicy(tc.text)
		if err == nil || err.Error() != tc.want {
			t.Errorf("ParsePolicy(%q):\n got %v\nwant %s", tc.text, err, tc.want)
		}
		if got != (Policy{}) {
			t.Errorf("ParsePolicy(%q): got %#v beside an error, want the zero Policy", tc.text, got)
		}
	}
}

func TestPolicyCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		policy Policy
		want   string
	}{
		{Policy{Daily: -2}, "policy daily: count -2: is not within 0 to 2147483647"},
		{Policy{Within: Span{Days: -30}}, `policy within: span "-30d": -30 is not within 0 to 99999`},
		{Policy{Last: 7, Within: Span{Years: 100_000}}, `policy within: span "100000y": 100000 is not within 0 to 99999`},
	} {
		if err := tc.policy.Check(); err == nil || err.Error() != tc.want {
			t.Errorf("%#v.Check(): got %v, want %s", tc.policy, err, tc.want)
		}
	}
	for _, p := range []Policy{{}, {Last: 7}, {All, All, All, All, All, All, Span{1, 1, 1, 1, 1}}} {
		if err := p.Check(); err != nil {
			t.Errorf("%#v.Check(): got %v, want nil", p, err)
		}
	}
}

// randomPolicy makes a policy with at least one rule.
func randomPolicy(rng *rand.Rand) Policy {
	var p Policy
	for p.IsZero() {
		for _, r := range p.counts() {
			switch rng.IntN(6) {
			case 0, 1:
				*r.count = Count(1 + rng.IntN(12))
			case 2:
				if rng.IntN(4) == 0 {
					*r.count = All
				}
			}
		}
		if rng.IntN(3) == 0 {
			p.Within = Span{rng.IntN(2), rng.IntN(3), rng.IntN(3), rng.IntN(9), rng.IntN(30)}
		}
	}
	return p
}

func TestPolicyRoundTrip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for range 5_000 {
		p := randomPolicy(rng)
		if got, err := ParsePolicy(p.String()); err != nil || got != p {
			t.Fatalf("ParsePolicy(%q): got %#v, %v, want %#v", p, got, err, p)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, s := range []string{"", "last=14 daily=7 within=30d", "hourly=all", "last=1 hourly=2 daily=3 weekly=4 monthly=5 yearly=all within=1y2m3w4d5h", "last=-1", "last=1 last=2", "=", "within=", "daily=99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePolicy(s)
		if err != nil {
			if p != (Policy{}) {
				t.Errorf("ParsePolicy(%q): got %#v beside %v", s, p, err)
			}
			return
		}
		if err := p.Check(); err != nil {
			t.Errorf("ParsePolicy(%q): got %#v: %v", s, p, err)
		}
		if again, err := ParsePolicy(p.String()); err != nil || again != p {
			t.Errorf("ParsePolicy(%q): got %#v, %v, want %#v", p, again, err, p)
		}
	})
}
