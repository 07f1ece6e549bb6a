package rotate

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// expect states the rules a second time, in another way: by grouping all archives into periods
// that have a printed name, and then choosing. It returns the reasons to keep, sorted, by name.
func expect(items []Item, p Policy, zone *time.Location) map[string][]string {
	reasons := map[string][]string{}
	var complete, rest []Item
	for _, it := range items {
		n := it.Name.String()
		if it.Held {
			reasons[n] = append(reasons[n], "held")
		}
		if it.Incomplete {
			rest = append(rest, it)
		} else {
			complete = append(complete, it)
		}
	}
	for _, half := range []struct {
		items  []Item
		suffix string
		from   []Item
	}{{complete, "", complete}, {rest, " (incomplete)", items}} {
		if len(half.items) == 0 {
			continue
		}
		top, bottom := slices.MaxFunc(half.items, byAge), slices.MinFunc(half.items, byAge)
		say := func(it Item, reason string) {
			n := it.Name.String()
			reasons[n] = append(reasons[n], reason+half.suffix)
		}
		if half.suffix == "" || len(complete) == 0 {
			say(top, "newest")
		}
		for word, rule := range map[string]struct {
			count Count
			name  func(t time.Time) string // nil: each archive is its own period
		}{
			"last":    {p.Last, nil},
			"hourly":  {p.Hourly, func(t time.Time) string { return t.Format("2006-01-02 15h -07:00:00") }},
			"daily":   {p.Daily, func(t time.Time) string { return t.Format("2006-01-02") }},
			"weekly":  {p.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprintf("%d-W%02d", y, w) }},
			"monthly": {p.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
			"yearly":  {p.Yearly, func(t time.Time) string { return t.Format("2006") }},
		} {
			if rule.count == 0 {
				continue
			}
			periods := map[string]Item{}
			for _, it := range half.items {
				name := it.Name.String()
				if rule.name != nil {
					name = rule.name(it.Name.Time.In(zone))
				}
				if best, ok := periods[name]; !ok || byAge(it, best) > 0 {
					periods[name] = it
				}
			}
			var chosen []Item
			for _, it := range periods {
				chosen = append(chosen, it)
			}
			slices.SortFunc(chosen, func(a, b Item) int { return byAge(b, a) })
			if rule.count == All || len(chosen) < int(rule.count) {
				if !slices.Contains(chosen, bottom) {
					say(bottom, "oldest "+word)
				}
			} else {
				chosen = chosen[:rule.count]
			}
			for i, it := range chosen {
				say(it, fmt.Sprintf("%s #%d", word, i+1))
			}
		}
		if !p.Within.IsZero() {
			start := p.Within.Before(slices.MaxFunc(half.from, byAge).Name.Time.In(zone))
			for _, it := range half.items {
				if it.Name.Time.After(start) {
					say(it, "within "+p.Within.String())
				}
			}
		}
	}
	for _, r := range reasons {
		slices.Sort(r)
	}
	return reasons
}

// byAge compares by time; of one instant the first name counts as the newer.
func byAge(a, b Item) int {
	if c := a.Name.Time.Compare(b.Name.Time); c != 0 {
		return c
	}
	if a.Name.String() < b.Name.String() {
		return 1
	}
	if a.Name.String() > b.Name.String() {
		return -1
	}
	return 0
}

// randomSeries makes up to three years of archives: by the hour, by the day, in bursts, with
// gaps, a few of one second, some held, some incomplete. Its order is random.
func randomSeries(rng *rand.Rand) []Item {
	step := []time.Duration{time.Hour, 24 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}[rng.IntN(4)]
	flawed := []float64{0, 0, 0.1, 0.5, 1}[rng.IntN(5)]
	t := date(2023, 6, 1, 0, 0, 0).Add(time.Duration(rng.IntN(150*24*3600)) * time.Second)
	used := map[string]bool{}
	var items []Item
	add := func(t time.Time) {
		it := at(t)
		if rng.IntN(20) == 0 {
			it.Name.Codec = "xz"
		}
		it.Held = rng.IntN(50) == 0
		it.Incomplete = rng.Float64() < flawed
		if !used[it.Name.String()] {
			used[it.Name.String()] = true
			items = append(items, it)
		}
	}
	for t.Before(now) && len(items) < 400 {
		add(t)
		switch rng.IntN(40) {
		case 0: // a gap
			t = t.Add(time.Duration(rng.IntN(90*24)) * time.Hour)
		case 1: // a burst
			for range rng.IntN(8) {
				t = t.Add(time.Duration(rng.IntN(600)) * time.Second)
				add(t)
			}
		case 2: // the same second once more
			add(t)
		}
		t = t.Add(step + time.Duration(rng.IntN(120)-60)*time.Second)
	}
	items = slices.DeleteFunc(items, func(it Item) bool { return it.Name.Time.After(now) })
	rng.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	return items
}

var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Atlantic/Azores", "America/Santiago", "Asia/Kolkata", "Pacific/Kiritimati"}

// eachRandom calls f with many series and policies.
func eachRandom(t *testing.T, f func(t *testing.T, rng *rand.Rand, items []Item, p Policy, zone *time.Location)) {
	t.Helper()
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 9))
		items, p, name := randomSeries(rng), randomPolicy(rng), zones[rng.IntN(len(zones))]
		f(t, rng, items, p, zone(t, name))
		if t.Failed() {
			t.Fatalf("seed %d: %d archives, %s, %s", seed, len(items), p, name)
		}
	}
}

func kept(d Decision) map[Item]bool {
	out := map[Item]bool{}
	for _, v := range d.Verdicts {
		if v.Keep {
			out[v.Item] = true
		}
	}
	return out
}

func TestPlanAgainstOracle(t *testing.T) {
	t.Parallel()
	keeps, removes := 0, 0
	eachRandom(t, func(t *testing.T, _ *rand.Rand, items []Item, p Policy, zone *time.Location) {
		want := expect(items, p, zone)
		for _, v := range Plan(items, p, PlanOptions{Zone: zone, Now: now}).Verdicts {
			n := v.Item.Name.String()
			if _, keep := want[n]; keep != v.Keep {
				t.Errorf("%s: got keep %v (%q), want %v (%q)", n, v.Keep, v.Reasons, keep, want[n])
			}
			if !v.Keep {
				removes++
				if got, want := v.Reasons, []string{"not covered by the policy"}; !slices.Equal(got, want) {
					t.Errorf("%s, to remove: got reasons %q, want %q", n, got, want)
				}
				continue
			}
			keeps++
			if got := slices.Sorted(slices.Values(v.Reasons)); !slices.Equal(got, want[n]) {
				t.Errorf("%s: got reasons %q, want %q", n, got, want[n])
			}
		}
	})
	if keeps < 1000 || removes < 1000 {
		t.Errorf("got %d to keep and %d to remove in all, want a series that tries both", keeps, removes)
	}
}

func TestPlanInvariants(t *testing.T) {
	t.Parallel()
	eachRandom(t, func(t *testing.T, rng *rand.Rand, items []Item, p Policy, zone *time.Location) {
		o := PlanOptions{Zone: zone, Now: now, AllowMany: true}
		before := slices.Clone(items)
		d := Plan(items, p, o)
		if !slices.Equal(items, before) {
			t.Error("Plan changed its input")
		}
		if d.Refused != "" {
			t.Errorf("refused: got %q", d.Refused)
		}

		// Each item once, newest first.
		var all []Item
		for i, v := range d.Verdicts {
			all = append(all, v.Item)
			if i > 0 && byAge(all[i-1], v.Item) <= 0 {
				t.Errorf("order: got %s before %s", all[i-1].Name, v.Item.Name)
			}
			if len(v.Reasons) == 0 {
				t.Errorf("%s: got no reason", v.Item.Name)
			}
		}
		slices.SortFunc(before, func(a, b Item) int { return byAge(b, a) })
		if !slices.Equal(all, before) {
			t.Errorf("verdicts: got %d, want one for each of %d items", len(all), len(items))
		}

		// What is kept and what is removed are all there is, removed oldest first.
		stay, gone := kept(d), d.Remove()
		if len(stay)+len(gone) != len(items) {
			t.Errorf("got %d kept and %d removed of %d", len(stay), len(gone), len(items))
		}
		for i, it := range gone {
			if stay[it] || it.Held {
				t.Errorf("%s: to remove, though kept or held", it.Name)
			}
			if i > 0 && byAge(gone[i-1], it) >= 0 {
				t.Errorf("Remove: got %s before %s", gone[i-1].Name, it.Name)
			}
		}

		// The newest complete archive stays; without one, the newest.
		newest := all
		if complete := slices.DeleteFunc(slices.Clone(all), func(it Item) bool { return it.Incomplete }); len(complete) > 0 {
			newest = complete
		}
		if len(newest) > 0 && !stay[newest[0]] {
			t.Errorf("%s: the newest is not kept", newest[0].Name)
		}

		// The order of the list does not matter.
		rng.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		if again := Plan(items, p, o); !reflect.DeepEqual(again, d) {
			t.Error("another order of the list makes another decision")
		}

		// What was kept once is kept again, once the others are gone.
		var rest []Item
		for it := range stay {
			rest = append(rest, it)
		}
		if again := Plan(rest, p, o).Remove(); again != nil {
			t.Errorf("a second rotation removes %v", again)
		}

		// Bigger counts, or a longer span, keep no less.
		more := p
		for _, r := range more.counts() {
			if *r.count != All {
				*r.count += Count(rng.IntN(4))
				if rng.IntN(10) == 0 {
					*r.count = All
				}
			}
		}
		for _, part := range more.Within.parts() {
			*part.n += rng.IntN(3)
		}
		wider := kept(Plan(items, more, o))
		for it := range stay {
			if !wider[it] {
				t.Errorf("%s: kept under %s, not under %s", it.Name, p, more)
			}
		}
	})
}

// The incomplete archives make no difference to the complete ones.
func TestPlanIncompleteDisplacesNone(t *testing.T) {
	t.Parallel()
	eachRandom(t, func(t *testing.T, _ *rand.Rand, items []Item, p Policy, zone *time.Location) {
		o := PlanOptions{Zone: zone, Now: now, AllowMany: true}
		complete := slices.DeleteFunc(slices.Clone(items), func(it Item) bool { return it.Incomplete })
		want := kept(Plan(complete, p, o))
		for it, keep := range kept(Plan(items, p, o)) {
			if !it.Incomplete && keep != want[it] {
				t.Errorf("%s: got keep %v beside incomplete ones, want %v", it.Name, keep, want[it])
			}
			delete(want, it)
		}
		for it := range want {
			t.Errorf("%s: not kept beside incomplete ones", it.Name)
		}
	})
}

// A newer archive never makes one wanted that would have been removed without it.
func TestPlanNewerRevivesNone(t *testing.T) {
	t.Parallel()
	eachRandom(t, func(t *testing.T, rng *rand.Rand, items []Item, p Policy, zone *time.Location) {
		o := PlanOptions{Zone: zone, Now: now.AddDate(1, 0, 0), AllowMany: true}
		stay := kept(Plan(items, p, o))
		newer := at(now.Add(time.Duration(rng.IntN(60*24)) * time.Hour))
		for it := range kept(Plan(append(items, newer), p, o)) {
			if it != newer && !stay[it] {
				t.Errorf("%s: kept beside %s only", it.Name, newer.Name)
			}
		}
	})
}
