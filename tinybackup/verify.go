package tinybackup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/seal"
	"tinybackup/internal/store"
)

// VerifyOptions say what Verify reads.
type VerifyOptions struct {
	From string // a destination: all its archives; or one archive
	Name string // only archives called so; empty: all
	// Identity are the files with the secret keys that read encrypted archives. Without
	// one, of these no more is compared than the bytes that they are encrypted to.
	Identity []string
	Access
}

// Verified is an archive, and what reading it back gave. Sizes are bytes.
type Verified struct {
	Archive   string   `json:"archive"`
	Size      int64    `json:"size"`
	Raw       int64    `json:"raw"`     // what it decodes to
	Entries   int64    `json:"entries"` // of a tar
	Checked   []string `json:"checked"` // what was compared, and is right
	Encrypted bool     `json:"encrypted,omitempty"`
	Unopened  string   `json:"unopened,omitempty"` // why nobody looked into it, although no problem was found
	Problem   string   `json:"problem,omitempty"`

	closed  bool   // it could not be looked into, as had been asked for
	alone   bool   // nothing says what its bytes should be
	sha256  string // of all of it; empty after a problem
	unknown bool   // nobody knew that before
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

// Closed is how many archives none of the identities reads, though there are some.
func (v VerifyReport) Closed() int {
	n := 0
	for _, a := range v.Archives {
		if a.Problem == "" && a.closed {
			n++
		}
	}
	return n
}

// Verify reads archives whole, decodes them, and compares them with their
// manifests and with SHA256SUMS. What is wrong with them is in the report; the
// error is about what kept it from looking.
func Verify(ctx context.Context, env Env, o VerifyOptions) (_ VerifyReport, err error) {
	r := VerifyReport{Start: env.Now(), Archives: []Verified{}}
	all, whole, err := pickAll(ctx, env, o)
	if err != nil {
		return r, err
	}
	ids, err := readIdentities(ctx, env, o.Identity)
	if err != nil {
		return r, errors.Join(err, all[0].store.Close())
	}
	st := all[0].store
	defer func() { err = errors.Join(err, st.Close()) }()
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
		v, err := verifyOne(ctx, p, ids, sums[p.Name], told)
		gone := false
		if err == nil && v.Problem != "" {
			gone, err = p.gone(ctx)
		}
		if err != nil {
			return r, err
		}
		if gone && whole {
			env.Log.Info("the archive was removed meanwhile", "archive", p.Name)
			continue
		}
		r.Archives = append(r.Archives, v)
	}
	if err := record(ctx, st, r.Archives); err != nil {
		env.Log.Warn("SHA256SUMS still lacks what was read: " + err.Error())
	}
	if whole {
		r.Missing = missing(ctx, st, sums, all, o.Name)
	}
	r.End = env.Now()
	return r, nil
}

// pickAll takes all archives of a destination, or those of one name, and then whole is
// true; or one archive. They are in one store, which the caller closes.
func pickAll(ctx context.Context, env Env, o VerifyOptions) (all []picked, whole bool, err error) {
	dest, err := resolvePath(o.From)
	if err != nil {
		return nil, false, err
	}
	info, statErr := os.Stat(dest)
	whole = statErr == nil && info.IsDir() || isRemote(dest) && !namesArchive(dest)
	if whole {
		all, err = pickList(ctx, env, dest, o)
		if !isRemote(dest) || !holdsNothing(err) {
			return all, true, err
		}
	}
	p, err := pick(ctx, env, Choice{From: dest, Name: o.Name, Access: o.Access})
	return []picked{p}, false, err
}

// pickList takes all archives of a destination, or those of one name.
func pickList(ctx context.Context, env Env, dest string, o VerifyOptions) (all []picked, err error) {
	st, err := openStore(ctx, env, dest, o.Access)
	if err != nil {
		return nil, err
	}
	defer func() { closeAfter(&err, st) }()
	objects, err := st.List(ctx)
	if err != nil {
		return nil, err
	}
	list := storedOf(objects, o.Name)
	if len(list) == 0 {
		return nil, noArchives(dest, o.Name)
	}
	for _, a := range list {
		all = append(all, picked{stored: a, store: st})
	}
	return all, nil
}

// verifyOne reads one archive. The error is the context's, or that this user may not
// read it; all else is the archive's problem, unless that is gone.
func verifyOne(ctx context.Context, p picked, ids *seal.Identities, sum string, told func(int64)) (Verified, error) {
	v := Verified{Archive: p.Name, Size: p.Size, Checked: []string{}}
	if !p.foreign {
		if err := p.complete(ctx, p.store); err != nil {
			v.Problem = err.Error()
			return v, ctx.Err()
		}
	}
	if errors.Is(p.doubt, fs.ErrPermission) {
		return v, forbidden(p.doubt)
	}
	src, err := p.store.Open(ctx, p.Name)
	if errors.Is(err, fs.ErrPermission) {
		return v, forbidden(err)
	}
	if err != nil {
		v.Problem = err.Error()
		return v, ctx.Err()
	}
	defer src.Close()
	v.Size = src.Size()
	if v.Encrypted, err = p.isSealed(src); err != nil {
		v.Problem = err.Error()
		return v, ctx.Err()
	}
	res, err := p.verify(ctx, &v, ids, src, told)
	v.Raw, v.Entries, v.Checked = res.Raw, res.Entries, res.Checked
	switch {
	case ctx.Err() != nil:
		return v, context.Cause(ctx)
	case err != nil:
		v.Problem = err.Error()
	case sum != "" && sum != res.SHA256:
		v.Problem = fmt.Sprintf("SHA256SUMS says %s, it has %s", sum, res.SHA256)
	case sum != "":
		v.Checked = append(v.Checked, "line of SHA256SUMS")
	case v.Unopened != "" && p.manifest == nil:
		v.Problem = "it is encrypted, and neither a manifest nor SHA256SUMS says what its bytes should be: --identity FILE looks inside"
	}
	if v.Problem == "" {
		v.alone = sum == "" && p.manifest == nil && p.doubt == nil
		v.sha256, v.unknown = res.SHA256, sum == "" && p.manifest != nil && p.manifest.SHA256 == ""
	}
	if v.Problem == "" && p.doubt != nil {
		v.Problem = "its manifest can't be used: " + strings.TrimPrefix(p.doubt.Error(), "manifest: ")
	}
	return v, nil
}

// forbidden is the error that this user may not read something of an archive, which says
// nothing of that.
func forbidden(err error) error {
	return &HintError{Err: err, Hint: "run this as the user who made it, or as root"}
}

// gone says of an archive with which something is wrong whether it is not there any more:
// rotation has removed it, and its line of SHA256SUMS. The error is that its destination
// cannot be asked, which says nothing of the archive.
func (p picked) gone(ctx context.Context) (bool, error) {
	objects, err := p.store.List(ctx)
	if err != nil || slices.ContainsFunc(objects, func(o store.Object) bool { return o.Name == p.Name }) {
		return false, err
	}
	sums, err := p.store.Sums(ctx)
	return sums[p.Name] == "", err
}

// verify reads src, which is the archive, and says in v what could not be looked into.
// The sum in the result is that of src.
func (p *picked) verify(ctx context.Context, v *Verified, ids *seal.Identities, src store.Reader, told func(int64)) (archive.VerifyResult, error) {
	kind, codec := string(p.name.Kind), p.name.Codec
	if p.foreign {
		kind, codec = "", ""
	}
	if !v.Encrypted {
		return archive.Verify(ctx, src, p.manifest, kind, codec, told)
	}
	if ids == nil {
		v.Unopened = "it is encrypted: --identity FILE looks inside"
		return p.verifySealed(ctx, src, told)
	}
	summed := seal.NewSummed(src)
	public := p.manifest
	plain, err := p.unseal(ctx, ids, summed)
	var unfit *seal.Error
	if errors.As(err, &unfit) {
		v.Unopened, v.closed = unfit.Error(), true
		return p.verifySealed(ctx, src, told)
	}
	if err != nil {
		return archive.VerifyResult{}, err
	}
	res, err := archive.Verify(ctx, plain, p.manifest, kind, codec, told)
	if err == nil {
		res.SHA256, err = summed.SHA256()
	}
	if err == nil && public != nil && public.SHA256 != res.SHA256 {
		err = fmt.Errorf("sha256 is %s, the manifest says %s", res.SHA256, public.SHA256)
	}
	return res, err
}

// verifySealed reads an encrypted archive without decrypting it.
func (p *picked) verifySealed(ctx context.Context, src store.Reader, told func(int64)) (res archive.VerifyResult, err error) {
	sum := sha256.New()
	n, err := io.Copy(sum, &watched{ctx: ctx, r: io.NewSectionReader(src, 0, src.Size()), told: told})
	if err != nil {
		return res, err
	}
	if n != src.Size() {
		return res, io.ErrUnexpectedEOF
	}
	res.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if p.manifest == nil {
		return res, nil
	}
	if res.SHA256 != p.manifest.SHA256 {
		return res, fmt.Errorf("sha256 is %s, the manifest says %s", res.SHA256, p.manifest.SHA256)
	}
	res.Checked = []string{fmt.Sprintf("size, %d bytes", n), "sha256 of the whole, " + res.SHA256}
	side, err := p.store.ReadSide(ctx, archive.SideName(p.Name))
	if err == nil {
		_, err = p.manifest.SealedPart(side)
	}
	return res, err
}

// record puts the checksums that nobody knew before verify had read all into SHA256SUMS:
// those of archives of which another machine copied a part by itself.
func record(ctx context.Context, st store.Store, all []Verified) error {
	set := map[string]string{}
	for _, v := range all {
		if v.unknown {
			set[v.Archive] = v.sha256
		}
	}
	if len(set) == 0 {
		return nil
	}
	return st.SetSums(ctx, set, nil)
}

// missing are the archives that SHA256SUMS tells of and that are not there: neither in
// the list of the series, or of all if that is empty, nor made since.
func missing(ctx context.Context, st store.Store, sums map[string]string, list []picked, series string) []string {
	there := map[string]bool{}
	for _, p := range list {
		there[p.Name] = true
	}
	var gone []string
	for name := range sums {
		n, ours := rotate.ParseName(name)
		if !ours || there[name] || series != "" && n.Series != series {
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
