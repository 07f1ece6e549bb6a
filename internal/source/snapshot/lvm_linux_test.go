package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fakeLVM plays lvm2's commands over volumes in memory.
type fakeLVM struct {
	t       *testing.T
	volumes []map[string]string // by the columns of lvs
	said    []string            // the commands that change something
	fails   map[string]int      // how often a command still fails
	then    func(command string)
}

func (f *fakeLVM) Run(ctx context.Context, command string, args ...string) ([]byte, error) {
	if ctx.Err() != nil && command == "lvremove" {
		return nil, ctx.Err()
	}
	if f.then != nil {
		defer f.then(command)
	}
	last := args[len(args)-1]
	if command != "lvs" {
		f.said = append(f.said, command+" "+strings.Join(args, " "))
	}
	if f.fails[command] > 0 {
		f.fails[command]--
		return nil, fmt.Errorf("%s: it does not want to", command)
	}
	switch command {
	case "lvs":
		return f.lvs(last)
	case "lvcreate":
		f.create(args)
	case "lvremove":
		f.volumes = slices.DeleteFunc(f.volumes, func(v map[string]string) bool { return v["vg_name"]+"/"+v["lv_name"] == last })
	case "lvchange":
		f.find(last)["lv_attr"] = "Vri-a-tz-k"
	}
	return nil, nil
}

func (f *fakeLVM) lvs(last string) ([]byte, error) {
	shown := []map[string]string{}
	for _, v := range f.volumes {
		name := v["vg_name"] + "/" + v["lv_name"]
		tagged := slices.Contains(strings.Split(v["lv_tags"], ","), strings.TrimPrefix(last, "@"))
		if last == name || strings.HasPrefix(last, "@") && tagged || last == strings.Join(columns, ",") {
			shown = append(shown, v)
		}
	}
	if len(shown) == 0 && strings.Contains(last, "/") {
		return nil, fmt.Errorf("lvs: Failed to find logical volume %q", last)
	}
	return json.Marshal(map[string]any{"report": []any{map[string]any{"lv": shown}}})
}

// create makes a volume of what lvcreate is asked for.
func (f *fakeLVM) create(args []string) {
	origin := f.find(args[len(args)-1])
	if slices.Contains(args, "-L") {
		origin["lv_attr"] = "owi-aos---"
	}
	v := map[string]string{"lv_attr": "swi-a-s---", "data_percent": "0.00", "lv_snapshot_invalid": ""}
	for _, column := range columns {
		if _, there := v[column]; !there {
			v[column] = origin[column]
		}
	}
	v["origin"], v["lv_tags"] = origin["lv_name"], ""
	for i, arg := range args {
		switch arg {
		case "-n":
			v["lv_name"], v["lv_dm_path"] = args[i+1], "/dev/mapper/"+args[i+1]
		case "-L":
			v["lv_size"] = strings.TrimSuffix(args[i+1], "b")
		case "-kn":
			v["lv_attr"] = "Vwi---tz--"
		case "--addtag":
			v["lv_tags"] = strings.TrimPrefix(v["lv_tags"]+","+args[i+1], ",")
		}
	}
	f.volumes = append(f.volumes, v)
}

func (f *fakeLVM) find(name string) map[string]string {
	f.t.Helper()
	for _, v := range f.volumes {
		if v["vg_name"]+"/"+v["lv_name"] == name {
			return v
		}
	}
	f.t.Fatalf("no volume %s", name)
	return nil
}

// newLVM has a volume vg0/root of that many bytes, in a group with so many free ones,
// and options to find it as the device 254:0.
func newLVM(t *testing.T, size, free int64) (*fakeLVM, Options) {
	t.Helper()
	const uuid = "abcdef-0000-1111-2222-3333-4444-567890"
	sys := t.TempDir()
	dir := filepath.Join(sys, "dev/block/254:0/dm")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := "LVM-" + strings.Repeat("g", 32) + strings.ReplaceAll(uuid, "-", "") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "uuid"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fakeLVM{t: t, fails: map[string]int{}}
	f.volumes = []map[string]string{{
		"vg_name": "vg0", "lv_name": "root", "lv_uuid": uuid, "lv_attr": "-wi-ao----", "lv_size": strconv.FormatInt(size, 10),
		"lv_dm_path": "/dev/mapper/vg0-root", "origin": "", "pool_lv": "", "vg_free": strconv.FormatInt(free, 10), "lv_tags": "",
		"data_percent": "", "lv_snapshot_invalid": "",
	}}
	return f, Options{Mode: Auto, Runner: f, sys: sys, pause: time.Nanosecond}
}

// leave adds what a run has left, or seems to have.
func (f *fakeLVM) leave(lv string, change map[string]string) {
	v := map[string]string{
		"vg_name": "vg0", "lv_name": lv, "lv_uuid": lv, "lv_attr": "swi-a-s---", "lv_size": "1048576", "lv_dm_path": "/dev/mapper/" + lv,
		"origin": "root", "pool_lv": "", "vg_free": f.volumes[0]["vg_free"], "lv_tags": tag + "," + ownerTag + "1.2.3.00000000", "data_percent": "5.00",
		"lv_snapshot_invalid": "",
	}
	for column, value := range change {
		v[column] = value
	}
	f.volumes = append(f.volumes, v)
}

func (f *fakeLVM) names() (all []string) {
	for _, v := range f.volumes {
		all = append(all, v["lv_name"])
	}
	return all
}

// What lvs 2.03.16 prints of a volume with two snapshots, one of which was full, and of
// a thin one.
func TestParseVolumes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/lvs.json")
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseVolumes(text)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, v := range all {
		fmt.Fprintf(&got, "%s %s size %d free %d of %q in %q: %g%% thin %v invalid %v active %v watched %v read-only %v tags %d %s\n",
			v.name(), v.id[:6], v.size, v.free, v.origin, v.pool, v.used, v.thin(), v.invalid, v.active(), v.watched(), v.readOnly(), len(v.tags), v.device)
	}
	want := `vg0/my-root NYJ0vu size 209715200 free 1786773504 of "" in "": 0% thin false invalid false active true watched true read-only false tags 0 /dev/mapper/vg0-my--root
vg0/pool XwfPON size 62914560 free 1786773504 of "" in "": 33.33% thin false invalid false active true watched false read-only false tags 0 /dev/mapper/vg0-pool
vg0/thin DP5UiH size 54525952 free 1786773504 of "" in "pool": 38.46% thin true invalid false active true watched false read-only false tags 0 /dev/mapper/vg0-thin
vg0/tinybackup_my-root_0000aaaa WfZm23 size 67108864 free 1786773504 of "my-root" in "": 47.94% thin false invalid false active true watched false read-only false tags 2 /dev/mapper/vg0-tinybackup_my--root_0000aaaa
vg0/tinybackup_my-root_0000bbbb 5rUdxD size 8388608 free 1786773504 of "my-root" in "": 100% thin false invalid true active false watched false read-only false tags 1 /dev/mapper/vg0-tinybackup_my--root_0000bbbb
vg0/tinybackup_thin_0000cccc T6Pj57 size 54525952 free 1786773504 of "thin" in "pool": 38.46% thin true invalid false active true watched false read-only false tags 2 /dev/mapper/vg0-tinybackup_thin_0000cccc
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", &got, want)
	}
	for _, c := range []struct {
		lv        string
		abandoned bool
	}{{"tinybackup_my-root_0000aaaa", true}, {"tinybackup_my-root_0000bbbb", false}, {"tinybackup_thin_0000cccc", true}, {"my-root", false}} {
		i := slices.IndexFunc(all, func(v volume) bool { return v.lv == c.lv })
		if got := all[i].abandoned(); got != c.abandoned {
			t.Errorf("%s is abandoned: got %v, want %v", c.lv, got, c.abandoned)
		}
	}
	if none, err := parseVolumes([]byte(`{"report":[{"lv":[]}]}`)); err != nil || len(none) > 0 {
		t.Errorf("no volumes: got %v, %v", none, err)
	}
	if _, err := parseVolumes([]byte("WARNING: ")); err == nil {
		t.Error("what is no JSON is taken")
	}
}

// The room for changes is a tenth, a gigabyte or what there is, unless somebody says.
func TestLVMRoom(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, c := range []struct{ size, free, asked, want int64 }{
		{5 * gib, 100 * gib, 0, gib}, {100 * gib, 100 * gib, 0, 10 * gib}, {100 * gib, 3 * gib, 0, 3 * gib},
		{5 * gib, gib / 2, 0, gib / 2}, {5 * gib, 100 * gib, 1 << 20, 1 << 20}, {5 * gib, gib, 7 * gib, gib},
	} {
		f, o := newLVM(t, c.size, c.free)
		o.Size = c.asked
		p, err := findLVM(t.Context(), "/dev/vg0/root", "254:0", nil, o)
		if err != nil {
			t.Fatal(err)
		}
		if p.Kind != KindLVM || p.Origin != "vg0/root" || p.Size != c.want || len(f.said) > 0 {
			t.Errorf("%+v: got %+v, want a plan for %d bytes; changed: %q", c, p, c.want, f.said)
		}
		s, err := p.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Size != c.want || s.Path != "/dev/mapper/"+strings.TrimPrefix(s.Name, "vg0/") || !strings.HasPrefix(s.Name, "vg0/tinybackup_root_") {
			t.Errorf("%+v: got %+v", c, s)
		}
		if want := fmt.Sprintf("-L %db --monitor n vg0/root", c.want); !strings.HasSuffix(f.said[0], want) {
			t.Errorf("%+v: got %q, want it to end in %q", c, f.said[0], want)
		}
		if used, err := s.Check(t.Context()); used != 0 || err != nil {
			t.Errorf("%+v: Check: got %v, %v", c, used, err)
		}
		if err := errors.Join(s.Close(t.Context()), s.Close(t.Context())); err != nil {
			t.Error(err)
		}
		if got := f.names(); len(got) != 1 {
			t.Errorf("%+v: left %q", c, got)
		}
	}
}

// A thin volume has no size for changes, and is activated.
func TestLVMThin(t *testing.T) {
	t.Parallel()
	f, o := newLVM(t, 1<<30, 0)
	f.volumes[0]["pool_lv"], f.volumes[0]["lv_attr"] = "pool", "Vwi-aotz--"
	f.leave("pool", map[string]string{"origin": "", "lv_tags": "", "lv_attr": "twi-aotz--", "data_percent": "41.50"})
	p, err := findLVM(t.Context(), "/dev/vg0/root", "254:0", nil, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Kind != KindThin || s.Size != 0 || strings.Contains(f.said[0], "-L") || !strings.HasSuffix(f.said[0], "-kn vg0/root") {
		t.Errorf("got %+v by %q", s, f.said)
	}
	if want := "lvchange -q -ay -K " + s.Name; !slices.Contains(f.said, want) {
		t.Errorf("got %q, want %q among them", f.said, want)
	}
	if used, err := s.Check(t.Context()); used != 41.5 || err != nil {
		t.Errorf("Check: got %v, %v, want how full the pool is", used, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A snapshot that was full, or is gone, fails the check, with what to do about it.
func TestLVMFull(t *testing.T) {
	t.Parallel()
	for what, spoil := range map[string]func(f *fakeLVM, v map[string]string){
		"attribute I": func(_ *fakeLVM, v map[string]string) { v["lv_attr"] = "swi-I-s---" },
		"attribute S": func(_ *fakeLVM, v map[string]string) { v["lv_attr"] = "swi-S-s---" },
		"invalid":     func(_ *fakeLVM, v map[string]string) { v["lv_snapshot_invalid"] = "snapshot invalid" },
		"100 percent": func(_ *fakeLVM, v map[string]string) { v["data_percent"] = "100.00" },
		"gone":        func(f *fakeLVM, v map[string]string) { f.volumes = f.volumes[:1] },
	} {
		f, o := newLVM(t, 5<<30, 10<<30)
		p, err := findLVM(t.Context(), "/dev/vg0/root", "254:0", nil, o)
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.find(s.Name)["data_percent"] = "12.34"
		if used, err := s.Check(t.Context()); used != 12.34 || err != nil {
			t.Errorf("before: got %v, %v, want 12.34", used, err)
		}
		spoil(f, f.find(s.Name))
		_, err = s.Check(t.Context())
		var e *Error
		if !errors.As(err, &e) || e.Try == "" || !strings.Contains(e.Why, s.Name) {
			t.Errorf("%s: got %v, want an error with a hint", what, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("%s: Close: %v", what, err)
		}
	}
}

// Whatever goes wrong after a snapshot was made, it is removed.
func TestLVMTakeFails(t *testing.T) {
	t.Parallel()
	f, o := newLVM(t, 5<<30, 10<<30)
	p, err := findLVM(t.Context(), "/dev/vg0/root", "254:0", nil, o)
	if err != nil {
		t.Fatal(err)
	}
	f.fails["lvcreate"] = 1
	var e *Error
	if _, err := p.Take(t.Context()); !errors.As(err, &e) || e.Why != "lvcreate: it does not want to" {
		t.Errorf("lvcreate fails: got %v", err)
	}
	f.then = func(command string) {
		if command == "lvcreate" {
			f.fails["lvs"] = 1
		}
	}
	if _, err := p.Take(t.Context()); err == nil || err.Error() != "lvs: it does not want to" {
		t.Errorf("lvs fails: got %v", err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	f.then = func(command string) {
		if command == "lvcreate" {
			cancel(why)
		}
	}
	if _, err := p.Take(ctx); !errors.Is(err, why) {
		t.Errorf("cancelled: got %v", err)
	}
	if got := f.names(); len(got) != 1 {
		t.Errorf("left %q", got)
	}
	commands := len(f.said)
	if _, err := p.Take(ctx); !errors.Is(err, why) || len(f.said) > commands {
		t.Errorf("cancelled before: got %v, after %q", err, f.said[commands:])
	}
}

// What does not go at once is tried again; what does not go at all is told.
func TestLVMRemoval(t *testing.T) {
	t.Parallel()
	f, o := newLVM(t, 5<<30, 10<<30)
	p, err := findLVM(t.Context(), "/dev/vg0/root", "254:0", nil, o)
	if err != nil {
		t.Fatal(err)
	}
	// The origin has another snapshot, which dmeventd may watch.
	f.volumes[0]["lv_attr"] = "owi-aos---"
	for fails, left := range map[int]bool{0: false, removalTries - 1: false, removalTries: true} {
		s, err := p.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := f.said[len(f.said)-1]; strings.Contains(got, "--monitor") {
			t.Errorf("%q ends the watch over other snapshots", got)
		}
		f.fails["lvremove"] = fails
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err = s.Close(ctx)
		if (err != nil) != left || len(f.volumes) > 1 != left {
			t.Errorf("%d failures: got %v, and there are %q", fails, err, f.names())
		}
		if left && !strings.Contains(err.Error(), "lvremove "+s.Name) {
			t.Errorf("got %q, want it to say what to type", err)
		}
		f.volumes = f.volumes[:1]
	}
}

// Only what bears our name and tags, is a snapshot, and whose owner is gone, is swept.
func TestLVMSweep(t *testing.T) {
	t.Parallel()
	f, o := newLVM(t, 5<<30, 0)
	self, err := me()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := self
	elsewhere.pid, elsewhere.space = 1<<30, 1
	f.leave("tinybackup_root_gone", nil)
	f.leave("tinybackup_root_mine", map[string]string{"lv_tags": tag + "," + ownerTag + self.String()})
	f.leave("tinybackup_root_container", map[string]string{"lv_tags": tag + "," + ownerTag + elsewhere.String()})
	f.leave("tinybackup_root_no_owner", map[string]string{"lv_tags": tag})
	f.leave("tinybackup_root_odd_owner", map[string]string{"lv_tags": tag + "," + ownerTag + "1.2"})
	f.leave("tinybackup_no_snapshot", map[string]string{"origin": ""})
	f.leave("another_name", nil)
	f.leave("tinybackup_root_untagged", map[string]string{"lv_tags": "other"})
	// There is no room but for that of the leftover.
	p, err := findLVM(t.Context(), "/dev/vg0/root", "254:0", nil, o)
	if err != nil || p.Size != 1<<20 {
		t.Fatalf("got %+v, %v, want a plan for what the leftover has", p, err)
	}
	f.fails["lvremove"] = removalTries
	if removed, err := p.Sweep(t.Context()); err == nil || len(removed) > 0 {
		t.Errorf("lvremove fails: got %q, %v", removed, err)
	}
	before := f.names()
	removed, err := p.Sweep(t.Context())
	if err != nil || !slices.Equal(removed, []string{"vg0/tinybackup_root_gone"}) {
		t.Errorf("got %q, %v", removed, err)
	}
	want := slices.DeleteFunc(before, func(lv string) bool { return lv == "tinybackup_root_gone" })
	if got := f.names(); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	// Nothing has come free after all.
	if _, err := p.Take(t.Context()); err == nil || !strings.Contains(err.Error(), "no free space") {
		t.Errorf("without any room: got %v", err)
	}
}

// What is no logical volume, or can't have a snapshot, is refused with the reason.
func TestLVMRefuses(t *testing.T) {
	t.Parallel()
	on := &mounted{dev: "8:1", fsType: "ext4", source: "/dev/sda1"}
	for want, c := range map[string]struct {
		dev   string
		on    *mounted
		spoil func(f *fakeLVM, o *Options)
	}{
		`"/srv" is on /dev/sda1 (ext4), which is no logical volume`:    {"8:1", on, nil},
		`"/srv" is no logical volume`:                                  {"8:1", nil, nil},
		"only root can make a snapshot":                                {"254:0", nil, func(_ *fakeLVM, o *Options) { o.user = 1000 }},
		"volume group vg0 has no free space for a snapshot":            {"254:0", nil, func(f *fakeLVM, _ *Options) { f.volumes[0]["vg_free"] = "0" }},
		"vg0/root is a snapshot itself, of which LVM makes none":       {"254:0", nil, func(f *fakeLVM, _ *Options) { f.volumes[0]["origin"] = "other" }},
		`lvs does not know the logical volume of "/srv"`:               {"254:0", nil, func(f *fakeLVM, _ *Options) { f.volumes[0]["lv_uuid"] = "other" }},
		"lvs: it does not want to":                                     {"254:0", nil, func(f *fakeLVM, _ *Options) { f.fails["lvs"] = 1 }},
		`lvs: attributes "-wi" of "vg0/root"`:                          {"254:0", nil, func(f *fakeLVM, _ *Options) { f.volumes[0]["lv_attr"] = "-wi" }},
		`lvs: it does not tell lv_tags`:                                {"254:0", nil, func(f *fakeLVM, _ *Options) { delete(f.volumes[0], "lv_tags") }},
		`lvs: vg0/root: strconv.ParseInt: parsing "x": invalid syntax`: {"254:0", nil, func(f *fakeLVM, _ *Options) { f.volumes[0]["vg_free"] = "x" }},
	} {
		f, o := newLVM(t, 5<<30, 10<<30)
		if c.spoil != nil {
			c.spoil(f, &o)
		}
		_, err := findLVM(t.Context(), "/srv", c.dev, c.on, o)
		var e *Error
		if !errors.As(err, &e) || e.Why != want || e.Try == "" {
			t.Errorf("got %v, want %q and a hint", err, want)
		}
	}
}
