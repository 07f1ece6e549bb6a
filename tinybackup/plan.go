package tinybackup

import (
	"context"
	"os"
	"strings"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/source"
)

// plan fills the report with what the run would do, reading nothing but names.
func (r *run) plan(ctx context.Context) error {
	for s, err := range r.source.Segments(ctx) {
		if err != nil {
			return err
		}
		if s.First {
			r.report.Entries++
		}
		r.report.Read += s.Len
		s.Done()
	}
	raw := r.report.Read
	for _, p := range r.report.Parts {
		r.report.Read -= p.Free
	}
	name := r.newName()
	r.report.Archive = name.String()
	r.manifest = &archive.Manifest{Kind: string(r.source.Kind), Entries: r.report.Entries, Raw: raw}
	if err := r.checkEmpty(); err != nil {
		return err
	}
	after := append([]stored{{name: name}}, r.before...)
	after[0].Name = name.String()
	d := decide(after, r.Options, r.Now())
	r.report.Unrotated = d.Refused
	for _, it := range d.Remove() {
		r.report.Removed = append(r.report.Removed, it.Name.String())
	}
	r.report.Plan = verdicts(after, d)
	for _, v := range r.report.Plan {
		if v.Keep || d.Refused != "" {
			r.report.Kept++
			r.report.KeptBytes += v.Size
		}
	}
	r.planCopies(ctx, after)
	return nil
}

// verdicts puts a decision together with what is known of the archives.
func verdicts(all []stored, d rotate.Decision) []Verdict {
	known := map[string]stored{}
	for _, a := range all {
		known[a.name.String()] = a
	}
	var out []Verdict
	for _, v := range d.Verdicts {
		a := known[v.Item.Name.String()]
		verdict := Verdict{
			Archive: v.Item.Name.String(), Series: v.Item.Name.Series, Time: v.Item.Name.Time, Size: a.Size, Own: a.Own,
			Incomplete: v.Item.Incomplete, Encrypted: v.Item.Name.Sealed, Keep: v.Keep, Reasons: v.Reasons,
		}
		if a.manifest != nil {
			verdict.Entries = a.manifest.Entries
		}
		if a.doubt != nil {
			verdict.Doubt = a.doubt.Error()
		}
		out = append(out, verdict)
	}
	return out
}

// excludes are the patterns of --exclude and of the files of --exclude-from.
func (o Options) excludes() (*source.Excludes, error) {
	patterns := append([]string(nil), o.Exclude...)
	for _, name := range o.ExcludeFrom {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimRight(line, "\r\n")
			if line != "" && !strings.HasPrefix(line, "#") {
				patterns = append(patterns, line)
			}
		}
	}
	x, err := source.NewExcludes(o.Source, patterns)
	if err != nil {
		return nil, &UsageError{Msg: err.Error(), Hint: "patterns are as in a shell, such as '*.tmp', '/build' or 'cache/'"}
	}
	return x, nil
}
