package rotate

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// now is the clock of the tests that do not care: after every archive they make.
var now = date(2026, time.December, 31, 12, 0, 0)

func at(t time.Time) Item {
	return Item{Name: Name{"notes", t.UTC(), KindDir, "zstd", false}, Size: 1 << 20}
}

// ago is an archive made the given number of days before nov21.
func ago(days int) Item { return at(nov21.AddDate(0, 0, -days)) }

func held(it Item) Item       { it.Held = true; return it }
func incomplete(it Item) Item { it.Incomplete = true; return it }

// nightly is an archive a day, n of them up to nov21.
func nightly(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = ago(i)
	}
	return items
}

// lines shows a Decision in short, a line for each archive.
func lines(d Decision) []string {
	out := []string{}
	for _, v := range d.Verdicts {
		mark := "remove"
		if v.Keep {
			mark = "keep"
		}
		out = append(out, fmt.Sprintf("%s %s: %s", v.Item.Name.Time.Format("01-02T15:04"), mark, strings.Join(v.Reasons, ", ")))
	}
	return out
}

func wantLines(t *testing.T, d Decision, want ...string) {
	t.Helper()
	if got := lines(d); !slices.Equal(got, want) {
		t.Errorf("verdicts:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func wantRefused(t *testing.T, d Decision, want string) {
	t.Helper()
	if d.Refused != want {
		t.Errorf("refused: got %q, want %q", d.Refused, want)
	}
	if got := d.Remove(); want != "" && got != nil {
		t.Errorf("Remove of a refused decision: got %v, want nil", got)
	}
}

func TestPlanReasons(t *testing.T) {
	t.Parallel()
	d := Plan(nightly(6), policy(t, "last=1 daily=3 weekly=2 within=2d"), PlanOptions{Now: now})
	wantLines(t, d, // 2026-11-21 is a Saturday
		"11-21T02:30 keep: newest, last #1, daily #1, weekly #1, within 2d",
		"11-20T02:30 keep: daily #2, within 2d",
		"11-19T02:30 keep: daily #3", // exactly 2d older is not newer than that
		"11-18T02:30 remove: not covered by the policy",
		"11-17T02:30 remove: not covered by the policy",
		"11-16T02:30 keep: oldest weekly", // a Monday of the same week: the second weekly is not there yet
	)
	wantRefused(t, d, "")
	if got, want := d.Remove(), []Item{ago(4), ago(3)}; !slices.Equal(got, want) {
		t.Errorf("Remove: got %v, want %v", got, want)
	}
}

func TestPlanNothing(t *testing.T) {
	t.Parallel()
	for _, p := range []Policy{{}, {Last: 7}, {Within: Span{Days: 1}}} {
		d := Plan(nil, p, PlanOptions{Now: now})
		if len(d.Verdicts) != 0 || d.Refused != "" || d.Remove() != nil {
			t.Errorf("Plan of nothing under %q: got %+v, want nothing", p, d)
		}
	}
}

func TestPlanZeroPolicyKeepsAll(t *testing.T) {
	t.Parallel()
	items := []Item{ago(0), held(ago(1)), incomplete(ago(2)), ago(400)}
	d := Plan(items, Policy{}, PlanOptions{Now: now, AllowMany: true})
	wantLines(t, d,
		"11-21T02:30 keep: newest, no policy",
		"11-20T02:30 keep: held, no policy",
		"11-19T02:30 keep: no policy",
		"10-17T02:30 keep: no policy",
	)
	wantRefused(t, d, "")
	if got := d.Remove(); got != nil {
		t.Errorf("Remove: got %v, want nil", got)
	}
}

// No rule may cover the newest archive (here all rules look at another kind), and it stays.
func TestPlanKeepsNewest(t *testing.T) {
	t.Parallel()
	d := Plan([]Item{incomplete(ago(0)), incomplete(ago(1)), ago(300), ago(301)}, policy(t, "last=1"), PlanOptions{Now: now})
	wantLines(t, d,
		"11-21T02:30 keep: last #1 (incomplete)",
		"11-20T02:30 remove: not covered by the policy",
		"01-25T02:30 keep: newest, last #1",
		"01-24T02:30 remove: not covered by the policy",
	)
}

func TestPlanHeld(t *testing.T) {
	t.Parallel()
	d := Plan([]Item{ago(0), ago(1), held(ago(2)), held(incomplete(ago(3))), ago(4)}, policy(t, "last=1"), PlanOptions{Now: now})
	wantLines(t, d,
		"11-21T02:30 keep: newest, last #1",
		"11-20T02:30 remove: not covered by the policy",
		"11-19T02:30 keep: held",
		"11-18T02:30 keep: held, last #1 (incomplete)",
		"11-17T02:30 remove: not covered by the policy",
	)
}

// A source with one unreadable file makes every archive incomplete from some day on: that must
// not cost the complete ones, and not pile up either.
func TestPlanIncomplete(t *testing.T) {
	t.Parallel()
	var items []Item
	for day := range 40 {
		it := ago(day)
		it.Incomplete = day < 20 || day == 25
		items = append(items, it)
	}
	d := Plan(items, policy(t, "last=3 weekly=2"), PlanOptions{Now: now, AllowMany: true})
	var kept []string
	for i, v := range d.Verdicts {
		if v.Keep {
			kept = append(kept, lines(d)[i])
		}
	}
	want := []string{
		"11-21T02:30 keep: last #1 (incomplete), weekly #1 (incomplete)",
		"11-20T02:30 keep: last #2 (incomplete)",
		"11-19T02:30 keep: last #3 (incomplete)",
		"11-15T02:30 keep: weekly #2 (incomplete)",
		"11-01T02:30 keep: newest, last #1, weekly #1",
		"10-31T02:30 keep: last #2",
		"10-30T02:30 keep: last #3",
		"10-25T02:30 keep: weekly #2",
	}
	if !slices.Equal(kept, want) {
		t.Errorf("kept:\n got %s\nwant %s", strings.Join(kept, "\n     "), strings.Join(want, "\n     "))
	}

	// The span of the complete ones counts from the newest complete one, that of the others from the newest.
	d = Plan([]Item{incomplete(ago(0)), incomplete(ago(6)), incomplete(ago(8)), ago(50), ago(56), incomplete(ago(57)), ago(58)},
		policy(t, "within=1w"), PlanOptions{Now: now})
	wantLines(t, d,
		"11-21T02:30 keep: within 1w (incomplete)",
		"11-15T02:30 keep: within 1w (incomplete)",
		"11-13T02:30 remove: not covered by the policy",
		"10-02T02:30 keep: newest, within 1w",
		"09-26T02:30 keep: within 1w",
		"09-25T02:30 remove: not covered by the policy",
		"09-24T02:30 remove: not covered by the policy",
	)
	// So an incomplete archive that none follows is not kept for ever.
	d = Plan([]Item{ago(0), ago(6), incomplete(ago(8))}, policy(t, "within=1w"), PlanOptions{Now: now})
	wantLines(t, d,
		"11-21T02:30 keep: newest, within 1w",
		"11-15T02:30 keep: within 1w",
		"11-13T02:30 remove: not covered by the policy",
	)
}

func TestPlanOnlyIncomplete(t *testing.T) {
	t.Parallel()
	d := Plan([]Item{incomplete(ago(0)), incomplete(ago(1)), incomplete(ago(2))}, policy(t, "daily=1"), PlanOptions{Now: now})
	wantLines(t, d,
		"11-21T02:30 keep: newest (incomplete), daily #1 (incomplete)",
		"11-20T02:30 remove: not covered by the policy",
		"11-19T02:30 remove: not covered by the policy",
	)
}

func TestPlanFuture(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	p := policy(t, "last=1 within=1d")
	for _, tc := range []struct {
		ahead   time.Duration
		refused string
	}{
		{0, ""},
		{time.Minute, ""},
		{5 * time.Minute, ""},
		{5*time.Minute + time.Second, "the clock (2026-11-21 03:24:59 CET) is behind the newest archive, notes-20261121T023000Z.tar.zst (2026-11-21 03:30:00 CET)"},
		{300 * 24 * time.Hour, "the clock (2026-01-25 03:30:00 CET) is behind the newest archive, notes-20261121T023000Z.tar.zst (2026-11-21 03:30:00 CET)"},
	} {
		items := []Item{ago(0), ago(301), ago(302)}
		d := Plan(items, p, PlanOptions{Zone: berlin, Now: nov21.Add(-tc.ahead), AllowMany: true})
		wantRefused(t, d, tc.refused)
		if tc.refused == "" {
			if got, want := len(d.Remove()), 2; got != want {
				t.Errorf("%v ahead: got %d to remove, want %d", tc.ahead, got, want)
			}
			continue
		}
		wantLines(t, d, // as the verdicts would be without the one of the future
			"11-21T02:30 keep: in the future",
			"01-24T02:30 keep: newest, last #1, within 1d",
			"01-23T02:30 remove: not covered by the policy",
		)
	}
	// The complaint does not wait until there is something to remove, but there is none without a policy.
	d := Plan([]Item{ago(0)}, p, PlanOptions{})
	if d.Refused == "" {
		t.Error("no clock: got no refusal")
	}
	wantRefused(t, Plan([]Item{ago(0), ago(1)}, Policy{}, PlanOptions{}), "")
	// An incomplete archive of the future does not pass for the newest, nor one held.
	d = Plan([]Item{held(incomplete(ago(-2))), incomplete(ago(0)), incomplete(ago(1))}, p, PlanOptions{Now: nov21})
	wantLines(t, d,
		"11-23T02:30 keep: held, in the future",
		"11-21T02:30 keep: newest (incomplete), last #1 (incomplete), within 1d (incomplete)",
		"11-20T02:30 remove: not covered by the policy",
	)
	if d.Refused == "" {
		t.Error("an incomplete archive of the future: got no refusal")
	}
}

func TestPlanTooMany(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		items   int
		policy  string
		refused string
	}{
		{100, "last=14", "it would remove 86 of 100 archives at once"},
		{100, "last=50", ""},
		{100, "last=49", "it would remove 51 of 100 archives at once"},
		{15, "last=14", ""},
		{4, "last=1", ""}, // three may always go
		{5, "last=1", "it would remove 4 of 5 archives at once"},
		{8, "last=4", ""},
		{9, "last=4", "it would remove 5 of 9 archives at once"},
	} {
		p := policy(t, tc.policy)
		d := Plan(nightly(tc.items), p, PlanOptions{Now: now})
		wantRefused(t, d, tc.refused)
		gone := tc.items - int(p.Last)
		if got := len(d.Remove()); tc.refused == "" && got != gone {
			t.Errorf("%s of %d: got %d to remove, want %d", tc.policy, tc.items, got, gone)
		}
		d = Plan(nightly(tc.items), p, PlanOptions{Now: now, AllowMany: true})
		wantRefused(t, d, "")
		if got := len(d.Remove()); got != gone {
			t.Errorf("%s of %d, allowed: got %d to remove, want %d", tc.policy, tc.items, got, gone)
		}
	}
	// After a long gap "within" covers the new archive alone: the old ones do not go that same night.
	items := append([]Item{at(nov21.AddDate(0, 3, 0))}, nightly(30)...)
	d := Plan(items, policy(t, "within=30d"), PlanOptions{Now: now.AddDate(1, 0, 0)})
	wantRefused(t, d, "it would remove 30 of 31 archives at once")
}

func TestPlanDoubtfulList(t *testing.T) {
	t.Parallel()
	p := policy(t, "last=1")
	o := PlanOptions{Now: now, AllowMany: true}
	other := ago(3)
	other.Name.Series = "other"
	wantRefused(t, Plan([]Item{ago(0), ago(1), other}, p, o), `the list has archives of two series, "notes" and "other"`)
	wantRefused(t, Plan([]Item{ago(0), ago(1), ago(2), ago(1)}, p, o), "the list has notes-20261120T023000Z.tar.zst twice")
	wantRefused(t, Plan([]Item{ago(0), held(ago(0)), ago(2)}, p, o), "the list has notes-20261121T023000Z.tar.zst twice")
	// The name has whole seconds, so these are one file.
	wantRefused(t, Plan([]Item{ago(0), at(nov21.Add(time.Millisecond)), ago(2)}, p, o), "the list has notes-20261121T023000Z.tar.zst twice")
	broken := ago(2)
	broken.Name.Codec = "zst"
	wantRefused(t, Plan([]Item{ago(0), ago(1), broken}, p, o), `the list has what is no archive: name "notes": no such codec: "zst"`)
	wantRefused(t, Plan([]Item{ago(0), {}}, p, o), `the list has what is no archive: name "": is empty`)
	wantRefused(t, Plan([]Item{other, {}}, Policy{}, o), "")
	wantRefused(t, Plan(nightly(3), Policy{Last: 1, Daily: -3}, o), "policy daily: count -3: is not within 0 to 2147483647")
	wantRefused(t, Plan(nightly(3), Policy{Last: 1, Within: Span{Hours: -1}}, o), `policy within: span "-1h": -1 is not within 0 to 99999`)
}

// Several archives of one second (another codec, another kind) are ordered by name, whatever the
// order in which a destination lists them.
func TestPlanSameInstant(t *testing.T) {
	t.Parallel()
	var items []Item
	for _, kind := range []Kind{KindDir, KindFile, KindDevice} {
		for _, codec := range []string{"zstd", "xz", "gzip", "none"} {
			items = append(items, Item{Name: Name{"notes", nov21, kind, codec, false}})
		}
	}
	var want []string
	for _, it := range items {
		want = append(want, it.Name.String())
	}
	slices.Sort(want)
	rng := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		rng.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		d := Plan(items, policy(t, "last=4 daily=1"), PlanOptions{Now: now, AllowMany: true})
		var got []string
		for i, v := range d.Verdicts {
			got = append(got, v.Item.Name.String())
			if v.Keep != (i < 4) {
				t.Fatalf("%s: got keep %v as number %d", v.Item.Name, v.Keep, i+1)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("order: got %q, want %q", got, want)
		}
		var gone []string
		for _, it := range d.Remove() {
			gone = append([]string{it.Name.String()}, gone...)
		}
		if !slices.Equal(gone, want[4:]) {
			t.Fatalf("Remove, backwards: got %q, want %q", gone, want[4:])
		}
	}
	// Even a list that is refused has one order.
	same := []Item{ago(0), held(ago(0)), incomplete(ago(0)), {Name: ago(0).Name, Size: 7}, {Name: Name{Time: nov21, Kind: "x"}}, {Name: Name{Time: nov21, Kind: "y"}}}
	first := Plan(same, policy(t, "last=1"), PlanOptions{Now: now})
	for range 50 {
		rng.Shuffle(len(same), func(i, j int) { same[i], same[j] = same[j], same[i] })
		if got := Plan(same, policy(t, "last=1"), PlanOptions{Now: now}); !reflect.DeepEqual(got, first) {
			t.Fatalf("refused list in another order:\n got %+v\nwant %+v", got, first)
		}
	}
}

// Plan leaves its input alone, and what it returns shares nothing with it.
func TestPlanDoesNotMutate(t *testing.T) {
	t.Parallel()
	items := []Item{ago(3), ago(0), held(ago(2)), incomplete(ago(1)), ago(5)}
	before := slices.Clone(items)
	d := Plan(items, policy(t, "last=1"), PlanOptions{Now: now})
	d.Verdicts[0].Item.Size = 99
	if !slices.Equal(items, before) {
		t.Errorf("items after Plan: got %v, want %v", items, before)
	}
}
