package tinybackup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	yamlv3 "go.yaml.in/yaml/v3"
)

// printed is what Print makes of a job in Berlin, on a morning.
func printed(t *testing.T, what string, n NewJob) Printed {
	t.Helper()
	out, err := Print(printEnv(t), PrintOptions{Job: n, What: what, Image: "registry.example.org/tinybackup:1.0"})
	if err != nil {
		t.Fatalf("print %s: %v", what, err)
	}
	return out
}

func printEnv(t *testing.T) Env {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	env := NewEnv()
	env.Zone, env.Binary = zone, "/usr/local/bin/tinybackup"
	env.Now = func() time.Time { return time.Date(2026, 11, 21, 9, 7, 12, 0, time.UTC) }
	dir := t.TempDir()
	env.Dirs = Dirs{Jobs: filepath.Join(dir, "jobs"), State: filepath.Join(dir, "state"), Log: filepath.Join(dir, "log")}
	return env
}

// A manifest of Kubernetes, as far as ours have any of it. Unknown keys are an error.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   meta
	Type       string
	Data       map[string]string
	StringData map[string]string `yaml:"stringData"`
	Spec       struct {
		Schedule                string
		TimeZone                string `yaml:"timeZone"`
		ConcurrencyPolicy       string `yaml:"concurrencyPolicy"`
		StartingDeadlineSeconds int    `yaml:"startingDeadlineSeconds"`
		JobTemplate             struct {
			Spec struct {
				BackoffLimit     int            `yaml:"backoffLimit"`
				PodFailurePolicy map[string]any `yaml:"podFailurePolicy"`
				Template         struct {
					Metadata meta
					Spec     pod
				}
			}
		} `yaml:"jobTemplate"`
	}
}

type meta struct {
	Name   string
	Labels map[string]string
}

type pod struct {
	RestartPolicy string `yaml:"restartPolicy"`
	Hostname      string
	Token         bool `yaml:"automountServiceAccountToken"`
	Containers    []struct {
		Name, Image     string
		Command         []string
		SecurityContext struct {
			RunAsUser  *int `yaml:"runAsUser"`
			Privileged bool
			Escalation *bool `yaml:"allowPrivilegeEscalation"`
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct {
		Name      string
		ConfigMap struct {
			Name string
			Mode int `yaml:"defaultMode"`
		} `yaml:"configMap"`
		Secret struct {
			Name string `yaml:"secretName"`
			Mode int    `yaml:"defaultMode"`
		}
		HostPath struct{ Path, Type string } `yaml:"hostPath"`
	}
}

// manifests reads what was printed with somebody else's parser.
func manifests(t *testing.T, text string) (all []manifest) {
	t.Helper()
	dec := yamlv3.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	for {
		var m manifest
		if err := dec.Decode(&m); err != nil {
			if isEOF(err) {
				return all
			}
			t.Fatalf("%v\n%s", err, text)
		}
		all = append(all, m)
	}
}

// All that may stand in a path, a name or a command comes back from YAML as it was,
// and the job file in the ConfigMap and the Secret is the job.
func TestPrintKubernetes(t *testing.T) {
	t.Parallel()
	odd := []string{"plain", "with blank", `q"u'o\te`, "- dash: colon # hash", "{{ template }} $(VAR) %h", "new\nline\ttab", "ümläut 日本", "nel\u0085 ls\u2028 bom\ufeff", "del\x7f"}
	for i, name := range odd {
		source, dest := "/srv/"+name, "/mnt/"+name
		o := Options{Source: source, Dest: dest, Name: fmt.Sprintf("Name_%d ü", i), Exclude: []string{name, "#" + name, " " + name}, Before: name, KeepDaily: 7}
		o.Notify = []ServiceURL{"ntfy://ntfy.sh/secret-topic"}
		text := printed(t, "kubernetes", NewJob{Options: o, Time: "30 2 * * 1-5"}).Text
		all := manifests(t, text)
		if len(all) != 3 {
			t.Fatalf("%q: got %d objects, want 3\n%s", name, len(all), text)
		}
		config, secret, cron := all[0], all[1], all[2]
		for _, m := range all {
			if got := m.Metadata.Name; got != config.Metadata.Name || !dnsLabel.MatchString(got) || len(got) > 52 {
				t.Errorf("name: got %q", got)
			}
			for _, label := range m.Metadata.Labels {
				if len(label) > 63 {
					t.Errorf("label: got %q", label)
				}
			}
		}
		if got := []string{config.APIVersion + " " + config.Kind, secret.APIVersion + " " + secret.Kind, cron.APIVersion + " " + cron.Kind}; !slices.Equal(got, []string{"v1 ConfigMap", "v1 Secret", "batch/v1 CronJob"}) {
			t.Errorf("objects: got %q", got)
		}
		s := cron.Spec
		if s.Schedule != "30 2 * * 1-5" || s.TimeZone != "Europe/Berlin" || s.ConcurrencyPolicy != "Forbid" {
			t.Errorf("schedule: got %+v", s)
		}
		p := s.JobTemplate.Spec.Template.Spec
		c := p.Containers[0]
		if p.RestartPolicy != "Never" || c.Image != "registry.example.org/tinybackup:1.0" || *c.SecurityContext.RunAsUser != 0 {
			t.Errorf("pod: got %+v", p)
		}
		if len(config.Data) != 1 {
			t.Fatalf("ConfigMap: got %q", config.Data)
		}
		for file, ini := range config.Data {
			if strings.Contains(ini, "secret-topic") {
				t.Errorf("a secret is in the ConfigMap: %s", ini)
			}
			path := c.Command[len(c.Command)-1]
			if path != rootDirs.Jobs+"/"+file || !slices.Equal(c.Command[:4], []string{"tinybackup", "run", "--retry", "--job"}) {
				t.Errorf("command: got %q for %q", c.Command, file)
			}
			job, _, err := parseJob(rootDirs, path, []byte(ini))
			if err != nil {
				t.Fatalf("%q: %v\n%s", name, err, ini)
			}
			got := job.Options
			if got.Source != source || got.Dest != dest || !slices.Equal(got.Exclude, o.Exclude) || got.Before != name || got.KeepDaily != 7 || job.Scheduler != "external" {
				t.Errorf("job: got %+v, want %+v", got, o)
			}
			if got.Config != secretFile {
				t.Errorf("config: got %q, want %q", got.Config, secretFile)
			}
		}
		var shared Options
		if _, err := parseINI([]byte(secret.StringData[sharedName]), iniSection{name: "options", data: &shared, shared: true}); err != nil || !slices.Equal(shared.Notify, o.Notify) {
			t.Errorf("secret: got %q, %v", secret.StringData, err)
		}
		mounted := make(map[string]string)
		for _, m := range c.VolumeMounts {
			mounted[m.Name] = fmt.Sprintf("%s %v", m.MountPath, m.ReadOnly)
		}
		want := map[string]string{
			"job": rootDirs.Jobs + " true", "secret": secretDir + " true", "state": rootDirs.State + " false", "log": rootDirs.Log + " false",
			"source": source + " true", "destination": dest + " false",
		}
		if !reflect.DeepEqual(mounted, want) {
			t.Errorf("mounts: got %q, want %q", mounted, want)
		}
		for _, v := range p.Volumes {
			if v.HostPath.Path != "" && !strings.HasPrefix(mounted[v.Name], v.HostPath.Path+" ") {
				t.Errorf("volume %s: got %q at %q", v.Name, v.HostPath.Path, mounted[v.Name])
			}
			if v.HostPath.Path == "" && v.ConfigMap.Mode+v.Secret.Mode != 0o400 {
				t.Errorf("volume %s: got mode %o", v.Name, v.ConfigMap.Mode+v.Secret.Mode)
			}
		}
	}
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// A device is no mount of a directory, and what no YAML can hold is refused.
func TestPrintKubernetesSources(t *testing.T) {
	t.Parallel()
	m := manifests(t, printed(t, "kubernetes", NewJob{Options: Options{Source: "/dev/sdb", Dest: "/mnt/x", ExcludeFrom: []string{"/etc/not", "/etc/not"}, Encrypt: []string{"/etc/readers"}, CopyTo: []Copy{{Dest: "sftp://nas/a"}, {Dest: "/mnt/y"}}}, Time: "@hourly"}).Text)
	p := m[1].Spec.JobTemplate.Spec.Template.Spec
	kinds, places := make(map[string]string), make(map[string]bool)
	for _, m := range p.Containers[0].VolumeMounts {
		if places[m.MountPath] {
			t.Errorf("%q is mounted twice", m.MountPath)
		}
		places[m.MountPath] = true
	}
	for _, v := range p.Volumes {
		kinds[v.Name] = v.HostPath.Type
	}
	want := map[string]string{"job": "", "state": "DirectoryOrCreate", "log": "DirectoryOrCreate", "source": "BlockDevice", "destination": "Directory", "exclude-1": "File", "encrypt-1": "File", "copy-2": "Directory"}
	if !reflect.DeepEqual(kinds, want) || !p.Containers[0].SecurityContext.Privileged || p.Containers[0].SecurityContext.Escalation != nil {
		t.Errorf("got %q and %+v, want %q", kinds, p.Containers[0].SecurityContext, want)
	}
	m = manifests(t, printed(t, "kubernetes", NewJob{Options: Options{Source: "/srv/a", Dest: "s3://s3.example.org/bucket/", Access: Access{S3Keys: "ID:KEY"}}, Time: "@hourly"}).Text)
	if len(m) != 3 || strings.Contains(fmt.Sprint(m[0], m[2]), "KEY") || m[1].StringData[sharedName] != "[options]\ns3-keys = ID:KEY\n" {
		t.Errorf("keys of S3: got %+v", m)
	}
	for _, m := range m[2].Spec.JobTemplate.Spec.Template.Spec.Containers[0].VolumeMounts {
		if m.Name == "destination" {
			t.Errorf("a destination on another machine is mounted: %+v", m)
		}
	}
	for _, source := range []string{"/etc", "/var/lib/tinybackup", "/", "/var", "/bad\xff", "relative"} {
		_, err := Print(printEnv(t), PrintOptions{Job: NewJob{Options: Options{Source: source, Dest: "/mnt/x", Name: "n"}, Time: "@daily"}, What: "kubernetes", Image: "i"})
		if err == nil || hintOf(err) == "" && source != "/bad\xff" {
			t.Errorf("source %q: got %v", source, err)
		}
	}
}

// How long, how often and how late an engine tries comes from our own rules.
func TestPrintRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		job             NewJob
		tries, deadline int
		retry           string
	}{
		{NewJob{Time: "30 2 * * *"}, 9, 84600, "3600"},
		{NewJob{Time: "@hourly"}, 2, 1800, "300"},
		{NewJob{Time: "*/10 * * * *"}, 1, 300, "300"},
		{NewJob{Time: "* * * * *"}, 1, 30, "300"},
		{NewJob{Time: "@yearly"}, 10, 365*86400 - 1800, "21600"},
		{NewJob{Time: "30 2 * * *", Options: Options{CatchUp: "none"}}, 9, 900, "3600"},
		{NewJob{Time: "30 2 * * *", Options: Options{Grace: Duration(2 * time.Hour)}}, 9, 7200, "3600"},
	} {
		c.job.Options.Source, c.job.Options.Dest = "/srv/a", "/mnt/b"
		s := manifests(t, printed(t, "kubernetes", c.job).Text)[1].Spec
		if s.JobTemplate.Spec.BackoffLimit != c.tries || s.StartingDeadlineSeconds != c.deadline {
			t.Errorf("%q: got %d tries within %d seconds, want %d within %d", c.job.Time, s.JobTemplate.Spec.BackoffLimit, s.StartingDeadlineSeconds, c.tries, c.deadline)
		}
		if text := printed(t, "systemd", c.job).Text; !strings.Contains(text, "\nRestartSec="+c.retry+"\n") {
			t.Errorf("%q: want RestartSec=%s\n%s", c.job.Time, c.retry, text)
		}
	}
}

// One job has one id, whatever it is printed for, and another job another one.
func TestPrintedID(t *testing.T) {
	t.Parallel()
	id := regexp.MustCompile(`\b[0-9a-f]{8}\b`)
	n := NewJob{Options: Options{Source: "/srv/a", Dest: "/mnt/b"}, Time: "@daily"}
	want := id.FindString(printed(t, "job", n).Text)
	for _, what := range []string{"cron", "systemd", "kubernetes"} {
		if got := id.FindString(printed(t, what, n).Text); got != want || want == "" {
			t.Errorf("%s: got id %q, want %q", what, got, want)
		}
	}
	for _, other := range []Options{{Source: "/srv/c", Dest: "/mnt/b"}, {Source: "/srv/a", Dest: "/mnt/c"}, {Source: "/srv/a", Dest: "/mnt/b", Name: "c"}} {
		if got := id.FindString(printed(t, "job", NewJob{Options: other, Time: "@daily"}).Text); got == want {
			t.Errorf("%+v has the id %s, too", other, got)
		}
	}
}

// What is called after a job is a name that cron.d, systemd and Kubernetes take.
func TestPrintedNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"notes": "tinybackup-notes-", "My Notes": "tinybackup-my-notes-", "日本": "tinybackup-backup-", "a..b": "tinybackup-a-b-", "-x_": "tinybackup-x-",
		strings.Repeat("long", 20): "tinybackup-longlonglonglonglonglonglonglo-", strings.Repeat("x", maxSlug-1) + " y": "tinybackup-" + strings.Repeat("x", maxSlug-1) + "-",
	} {
		p := InstalledJob{job: Job{ID: "3f2a91c0", Options: Options{Name: name}}}
		if got := p.base(); got != want+"3f2a91c0" || !dnsLabel.MatchString(got) || len(got) > 52 {
			t.Errorf("%q: got %q, want %q", name, got, want+"3f2a91c0")
		}
	}
}

// systemd itself finds nothing wrong with the units, whatever is in the paths.
func TestPrintSystemd(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze")
	}
	for _, name := range []string{"plain", `o d$d ${X} %h 'q' "d" \n ;`, "new\nline", "ü"} {
		dir := filepath.Join(t.TempDir(), "units")
		env := printEnv(t)
		env.Binary, env.Dirs = "/bin/true", rootDirs
		for _, o := range []Options{{}, {Before: "true"}, {Snapshot: "auto"}, {CopyTo: []Copy{{Dest: "/copy/" + name}, {Dest: "sftp://nas/a"}}}} {
			o.Source, o.Dest, o.Name = "/srv/"+name, "/mnt/"+name, "name"
			out, err := Print(env, PrintOptions{Job: NewJob{Options: o, Time: "30 4 * * mon-fri"}, What: "systemd"})
			if err != nil {
				t.Fatal(err)
			}
			if confined := strings.Contains(out.Text, "ProtectSystem=strict"); confined != (o.Before == "" && o.Snapshot == "" && !strings.Contains(name, "\n") && os.Geteuid() == 0) {
				t.Errorf("%+v: confined is %v\n%s", o, confined, out.Text)
			}
			files := splitUnits(t, dir, out.Text)
			if got, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, files...)...).CombinedOutput(); err != nil || len(got) > 0 {
				t.Errorf("systemd-analyze: %v\n%s\n%s", err, got, out.Text)
			}
		}
	}
}

// splitUnits makes files of what was printed, as the hint says, but in dir.
func splitUnits(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	parts := make(map[string]*strings.Builder)
	var now *strings.Builder
	for line := range strings.Lines(text) {
		if path, is := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "# /"); is {
			now = &strings.Builder{}
			path = filepath.Join(dir, filepath.Base(path))
			parts[path], files = now, append(files, path)
		}
		now.WriteString(line)
	}
	if len(files) != 2 {
		t.Fatalf("got the units %q, want two\n%s", files, text)
	}
	for path, part := range parts {
		if err := writeWhole(path, []byte(part.String())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}
