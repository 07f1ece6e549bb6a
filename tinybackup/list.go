package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tinybackup/internal/rotate"
)

// ListOptions say what List looks at.
type ListOptions struct {
	Dest string
	Name string // only archives called so; empty: all
	Access
	// Policy is what rotation would go by. Zero: the one that each newest archive
	// was made with.
	Policy rotate.Policy
}

// Listing is what a destination holds: newest first, by name.
type Listing struct {
	Dest     string    `json:"dest"`
	Archives []Verdict `json:"archives"`
	// Refused says by name why rotation would remove nothing.
	Refused map[string]string `json:"refused,omitempty"`
	Foreign int               `json:"foreign"` // files that are none of ours
}

// List shows the archives of a destination, and what rotation would do with each
// of them now.
func List(ctx context.Context, env Env, o ListOptions) (_ Listing, err error) {
	dest, err := resolvePath(o.Dest)
	if err != nil {
		return Listing{}, err
	}
	l := Listing{Dest: dest, Archives: []Verdict{}, Refused: map[string]string{}}
	st, err := openStore(ctx, env, dest, o.Access)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	all, err := listStored(ctx, st, o.Name)
	if err != nil {
		return l, err
	}
	if o.Name != "" && len(all) == 0 {
		return l, noArchives(dest, o.Name)
	}
	objects, err := st.List(ctx)
	if err != nil {
		return l, err
	}
	for _, obj := range objects {
		if _, ours := rotate.ParseName(strings.TrimSuffix(obj.Name, bmapSuffix)); !ours {
			l.Foreign++
		}
	}
	for len(all) > 0 {
		series := all[0].name.Series
		n := slices.IndexFunc(all, func(a stored) bool { return a.name.Series != series })
		if n < 0 {
			n = len(all)
		}
		d := rotate.Plan(items(all[:n]), listPolicy(env, o, dest, all[:n]), rotate.PlanOptions{Zone: env.Now().Location(), Now: env.Now()})
		if d.Refused != "" {
			l.Refused[series] = d.Refused
		}
		l.Archives = append(l.Archives, verdicts(all[:n], d)...)
		all = all[n:]
	}
	return l, nil
}

// listPolicy is the policy that rotation of these archives in dest goes by: none, if
// that is not known.
func listPolicy(env Env, o ListOptions, dest string, all []stored) rotate.Policy {
	if !o.Policy.IsZero() {
		return o.Policy
	}
	if p := env.copyPolicy(dest, all[0].name.Series); !p.IsZero() {
		return p
	}
	if m := newestKnown(all); m != nil {
		if p, err := rotate.ParsePolicy(m.Policy); err == nil {
			return p
		}
	}
	return rotate.Policy{}
}

// noArchives says that there are none, and what there is instead.
func noArchives(dest, name string) error {
	if name == "" {
		return &HintError{Err: &emptyDestError{dest}, Hint: "tinybackup run SOURCE " + shellQuote(dest) + " makes one"}
	}
	return &HintError{Err: fmt.Errorf("destination %q holds no archives called %q", dest, name), Hint: "tinybackup list " + shellQuote(dest) + " shows those it holds"}
}

// An emptyDestError says that a destination holds no archive at all.
type emptyDestError struct{ dest string }

func (e *emptyDestError) Error() string {
	return fmt.Sprintf("destination %q holds no archives", e.dest)
}
