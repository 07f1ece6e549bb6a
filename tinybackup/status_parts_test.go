package tinybackup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestUnmounted finds the place of fstab(5) that a path is below.
func TestUnmounted(t *testing.T) {
	t.Parallel()
	const fstab = `# /dev/sdz /mnt ext4 defaults 0 0
UUID=1 / ext4 errors=remount-ro 0 1
UUID=2 /mnt ext4 defaults 0 2
UUID=3	/mnt/stick	ext4	noauto 0 2
UUID=4 /media/my\040disk vfat noauto 0 0
UUID=5 none swap sw 0 0
short
`
	mounted := func(dir string) bool { return dir == "/mnt" }
	for path, want := range map[string]string{
		"/mnt/stick":             "/mnt/stick",
		"/mnt/stick/deep/down":   "/mnt/stick",
		"/mnt/sticky":            "",
		"/mnt":                   "",
		"/media/my disk/archive": "/media/my disk",
		"/home/anna":             "",
		"/":                      "",
	} {
		if got := unmounted(fstab, path, mounted); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	if !isMountPoint("/proc") || isMountPoint(t.TempDir()) || isMountPoint("/nowhere") {
		t.Error("what is mounted is taken for what is not, or the other way round")
	}
}

// TestAllowCommand: where there is a list of those who may, it alone counts.
func TestAllowCommand(t *testing.T) {
	t.Parallel()
	etc := t.TempDir()
	got := strings.TrimPrefix(allowCommand(etc, "cron", "anna"), "sudo ")
	if want := "sed -i '/^anna$/d' " + etc + "/cron.deny"; got != want {
		t.Errorf("without a cron.allow: got %q, want %q", got, want)
	}
	if err := os.WriteFile(filepath.Join(etc, "cron.allow"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got = strings.Replace(allowCommand(etc, "cron", "anna"), "sudo ", "", 1)
	if want := "echo anna | tee -a " + etc + "/cron.allow"; got != want {
		t.Errorf("with a cron.allow: got %q, want %q", got, want)
	}
	if got := allowCommand(etc, "at", "anna"); !strings.Contains(got, "/at.deny") {
		t.Errorf("at: got %q", got)
	}
}

func TestLastErrorLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	if got := lastErrorLine(path); got != "" {
		t.Errorf("no log: %q", got)
	}
	const old, last = `time=1 level=ERROR msg="run failed: old"`, `time=2 level=ERROR msg="run failed: new"`
	for name, c := range map[string]struct{ text, want string }{
		"empty":     {"", ""},
		"none":      {"time=1 level=INFO msg=\" level=ERRORS \"\n", ""},
		"the last":  {old + "\n" + last + "\ntime=3 level=INFO msg=done\n", last},
		"torn":      {old + "\n" + last, last},
		"too early": {old + "\n" + strings.Repeat("time=2 level=INFO msg=x\n", logTail/20), ""},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastErrorLine(path); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestSparkline(t *testing.T) {
	t.Parallel()
	for want, sizes := range map[string][]int64{
		"":         nil,
		"▁":        {0},
		"█":        {1 << 40},
		"▁▅█":      {0, 500, 1000},
		"▁▂▃▄▅▆▇█": {0, 10, 20, 30, 40, 50, 60, 79},
	} {
		if got := sparkline(sizes); got != want {
			t.Errorf("%d: got %s, want %s", sizes, got, want)
		}
	}
}

func TestRoughly(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		10 * time.Second: "0 minutes", time.Minute: "1 minute", 16 * time.Minute: "16 minutes", 3*time.Hour + 20*time.Minute: "3h 20m",
		24 * time.Hour: "1d 0h", 50 * time.Hour: "2d 2h", 72 * time.Hour: "3 days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

// TestFrame draws within a small screen.
func TestFrame(t *testing.T) {
	t.Parallel()
	got := frame("one\ntwo is too long\nthree\n", 7, 3)
	if want := "\x1b[H\x1b[Kone\n\x1b[Ktwo is…\n\x1b[Jthree"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = frame("1\n2\n3\n4\n5\n", 80, 3)
	if want := "\x1b[H\x1b[K1\n\x1b[K2\n\x1b[J… and 3 lines"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Prometheus' text format, version 0.0.4: a metric's HELP, its TYPE, and then its
// samples, each with its labels.
var (
	metricHead   = regexp.MustCompile(`^# (HELP|TYPE) ([a-z_]+) (.+)$`)
	metricSample = regexp.MustCompile(`^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)*\})? (-?[0-9]+(?:\.[0-9]+)?)$`)
)

// TestMetrics reads the metrics as the format demands.
func TestMetrics(t *testing.T) {
	t.Parallel()
	at := time.Unix(1795314601, 500e6)
	run := &HistoryEntry{Start: at, End: at.Add(1500 * time.Millisecond), Result: ResultOK}
	s := Status{Jobs: []JobStatus{
		{ID: "00000001", Name: "a \"b\" \\ c\nd \xff ü", State: StateFailed, Failures: 3, Last: run, LastGood: run, Next: at, Archives: 2, Bytes: 1 << 50, Free: 7},
		{ID: "00000002", Name: "new", State: StateDue, OK: true, Free: -1},
		{ID: "00000003", State: StateBroken, Free: -1},
	}}
	var b bytes.Buffer
	if err := s.printMetrics(&b); err != nil {
		t.Fatal(err)
	}
	heads, series, current := map[string]int{}, map[string]bool{}, ""
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if m := metricHead.FindStringSubmatch(line); m != nil {
			heads[m[1]+" "+m[2]]++
			if current = m[2]; m[1] == "TYPE" && m[3] != "gauge" {
				t.Errorf("type %s", line)
			}
			continue
		}
		m := metricSample.FindStringSubmatch(line)
		if m == nil || m[1] != current {
			t.Errorf("below %s: %q", current, line)
			continue
		}
		if series[m[1]+m[2]] {
			t.Errorf("twice: %s", line)
		}
		series[m[1]+m[2]] = true
	}
	for head, n := range heads {
		if n != 1 {
			t.Errorf("%s: %d times", head, n)
		}
	}
	if len(heads) != 2*(len(jobMetrics)+2) {
		t.Errorf("heads: %v", heads)
	}
	name := `job="00000001",name="a \"b\" \\ c\nd ` + "\uFFFD" + ` ü"`
	for _, want := range []string{
		fmt.Sprintf("tinybackup_job_state{%s,state=\"failed\"} 1\n", name),
		fmt.Sprintf("tinybackup_job_state{%s,state=\"ok\"} 0\n", name),
		fmt.Sprintf("tinybackup_job_failures{%s} 3\n", name),
		fmt.Sprintf("tinybackup_last_run_timestamp_seconds{%s} 1795314601.5\n", name),
		fmt.Sprintf("tinybackup_last_run_duration_seconds{%s} 1.5\n", name),
		fmt.Sprintf("tinybackup_archives_bytes{%s} 1125899906842624\n", name),
		"tinybackup_job_ok{job=\"00000002\",name=\"new\"} 1\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), `last_run_timestamp_seconds{job="00000002"`) || strings.Contains(b.String(), `free_bytes{job="00000002"`) {
		t.Errorf("a job without runs has some:\n%s", &b)
	}
}
