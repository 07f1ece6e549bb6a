package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
)

// VerifyOptions say what Verify reads.
type VerifyOptions struct {
	From string // a destination: all its archives; or one archive
	Name string // only archives called so; empty: all
}

// Verified is an archive, and what reading it back gave. Sizes are bytes.
type Verified struct {
	Archive string   `json:"archive"`
	Size    int64    `json:"size"`
	Raw     int64    `json:"raw"`     // what it decodes to
	Entries int64    `json:"entries"` // of a tar
	Checked []string `json:"checked"` // what was compared, and is right
	Problem string   `json:"problem,omitempty"`
}

// VerifyReport is what Verify found.
type VerifyReport struct {
	Dest     string     `json:"dest"`
	Start    time.Time  `json:"start"`
	End      time.Time  `json:"end"`
	Archives []Verified `json:"archives"`
	Missing  []string   `json:"missing,omitempty"` // SHA256SUMS tells of them, and they are not there
}

// Bad is how many archives are damaged or missing.
func (v VerifyReport) Bad() int {
	n := len(v.Missing)
	for _, a := range v.Archives {
		if a.Problem != "" {
			n++
		}
	}
	return n
}

// Verify reads archives whole, decodes them, and compares them with their
// manifests and with SHA256SUMS. What is wrong with them is in the report; the
// error is about what kept it from looking.
func Verify(ctx context.Context, env Env, o VerifyOptions) (VerifyReport, error) {
	r := VerifyReport{Start: env.Now(), Archives: []Verified{}}
	var all []picked
	var err error
	info, statErr := os.Stat(o.From)
	whole := statErr == nil && info.IsDir()
	if whole {
		all, err = pickAll(ctx, o.From, o.Name)
	} else {
		all = make([]picked, 1)
		all[0], err = pick(ctx, env, o.From, o.Name, time.Time{})
	}
	if err != nil {
		return r, err
	}
	st := all[0].store
	r.Dest = st.String()
	sums, err := st.Sums(ctx)
	if err != nil {
		return r, err
	}
	total := int64(0)
	for _, p := range all {
		total += p.Size
	}
	told := env.teller("verifying", total)
	for _, p := range all {
		v, err := verifyOne(ctx, p, sums[p.Name], told)
		if err != nil {
			return r, err
		}
		r.Archives = append(r.Archives, v)
	}
	if whole {
		r.Missing = missing(ctx, st, sums, o.Name)
	}
	r.End = env.Now()
	return r, nil
}

// pickAll takes all archives of a destination, or those of one name.
func pickAll(ctx context.Context, dest, name string) ([]picked, error) {
	dest, err := resolvePath(dest)
	if err != nil {
		return nil, err
	}
	st, err := openStore(dest)
	if err != nil {
		return nil, err
	}
	list, err := listStored(ctx, st, name)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, noArchives(dest, name)
	}
	var all []picked
	for _, a := range list {
		all = append(all, picked{stored: a, store: st})
	}
	return all, nil
}

// verifyOne reads one archive. The error is the context's; all else is the
// archive's problem.
func verifyOne(ctx context.Context, p picked, sum string, told func(int64)) (Verified, error) {
	v := Verified{Archive: p.Name, Size: p.Size, Checked: []string{}}
	src, err := p.store.Open(ctx, p.Name)
	if err != nil {
		v.Problem = err.Error()
		return v, ctx.Err()
	}
	defer src.Close()
	kind, codec := string(p.name.Kind), p.name.Codec
	if p.foreign {
		kind, codec = "", ""
	}
	res, err := archive.Verify(ctx, src, p.manifest, kind, codec, told)
	v.Size, v.Raw, v.Entries, v.Checked = src.Size(), res.Raw, res.Entries, res.Checked
	switch {
	case ctx.Err() != nil:
		return v, context.Cause(ctx)
	case err != nil:
		v.Problem = err.Error()
	case sum != "" && sum != res.SHA256:
		v.Problem = fmt.Sprintf("SHA256SUMS says %s, it has %s", sum, res.SHA256)
	case sum != "":
		v.Checked = append(v.Checked, "line of SHA256SUMS")
	}
	if v.Problem == "" && p.doubt != nil {
		v.Problem = "its manifest can't be used: " + strings.TrimPrefix(p.doubt.Error(), "manifest: ")
	}
	return v, nil
}

// missing are the archives that SHA256SUMS tells of and that are not there.
func missing(ctx context.Context, st *store.Local, sums map[string]string, series string) []string {
	var gone []string
	for name := range sums {
		n, ours := rotate.ParseName(name)
		if !ours || series != "" && n.Series != series {
			continue
		}
		src, err := st.Open(ctx, name)
		if err == nil {
			src.Close()
		} else if errors.Is(err, fs.ErrNotExist) {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	return gone
}
