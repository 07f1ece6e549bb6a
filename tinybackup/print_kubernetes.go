package tinybackup

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tinybackup/internal/sched"
	"tinybackup/internal/seal"
)

// Where a container of Kubernetes has the options that nobody else may see: in a
// file of shared options, as the job's own is in a ConfigMap.
const (
	secretDir  = "/etc/tinybackup/secret"
	secretFile = secretDir + "/" + sharedName
)

// resolveElsewhere is Resolve for another machine: nothing is looked up.
func (o *Options) resolveElsewhere() error {
	paths := []*string{&o.Source, &o.SSHIdentity, &o.KnownHosts}
	dests := []*string{&o.Dest}
	o.CopyTo = slices.Clone(o.CopyTo)
	for i := range o.CopyTo {
		dests = append(dests, &o.CopyTo[i].Dest)
	}
	for _, dest := range dests {
		if isRemote(*dest) {
			*dest = trimRemote(*dest)
		} else {
			paths = append(paths, dest)
		}
	}
	for i := range o.ExcludeFrom {
		paths = append(paths, &o.ExcludeFrom[i])
	}
	for i := range o.Encrypt {
		if seal.IsFile(o.Encrypt[i]) {
			paths = append(paths, &o.Encrypt[i])
		}
	}
	for _, path := range paths {
		switch {
		case *path == "": // what there has to be, checkWords knows
		case !filepath.IsAbs(*path):
			return &UsageError{Msg: fmt.Sprintf("path %q is not absolute", *path), Hint: "paths are those of a node of the cluster: give the whole one"}
		case !utf8.ValidString(*path):
			return &UsageError{Msg: fmt.Sprintf("path %q is not UTF-8, and objects of Kubernetes have to be", *path)}
		default:
			*path = filepath.Clean(*path)
		}
	}
	o.fillDefaults()
	return nil
}

// A volume is a path of the node that a container has at the same place.
type volume struct {
	name, path, kind string // kind as of a hostPath
	write            bool
}

// volumes are what the job reads and writes, besides its job file.
func (j Job) volumes() ([]volume, error) {
	o := j.Options
	all := []volume{
		{"state", rootDirs.State, "DirectoryOrCreate", true},
		{"log", rootDirs.Log, "DirectoryOrCreate", true},
	}
	own := []string{rootDirs.Jobs, secretDir, rootDirs.State, rootDirs.Log}
	add := func(v volume) error {
		for _, ours := range own {
			if within(ours, v.path) {
				return &UsageError{
					Msg:  fmt.Sprintf("%q would hide %q, where tinybackup keeps its own files in the container", v.path, ours),
					Hint: "make a job of each directory that is to be backed up",
				}
			}
		}
		for i, other := range all { // one file may be of several options, and is mounted once
			if other.path == v.path {
				all[i].write = other.write || v.write
				return nil
			}
		}
		all = append(all, v)
		return nil
	}
	source := volume{name: "source", path: o.Source, kind: "Directory"}
	if j.readsDevice() {
		source.kind = "BlockDevice"
	}
	if err := add(source); err != nil {
		return nil, err
	}
	for i, dest := range o.dests() {
		name := "destination"
		if i > 0 {
			name = fmt.Sprintf("copy-%d", i)
		}
		if isRemote(dest) {
			continue
		}
		if err := add(volume{name, dest, "Directory", true}); err != nil {
			return nil, err
		}
	}
	files := []volume{{name: "ssh-identity", path: o.SSHIdentity}, {name: "known-hosts", path: o.KnownHosts}}
	for i, file := range o.ExcludeFrom {
		files = append(files, volume{name: fmt.Sprintf("exclude-%d", i+1), path: file})
	}
	for i, file := range o.Encrypt {
		if seal.IsFile(file) {
			files = append(files, volume{name: fmt.Sprintf("encrypt-%d", i+1), path: file})
		}
	}
	for _, file := range files {
		if file.kind = "File"; file.path == "" {
			continue
		}
		if err := add(file); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readsDevice says whether the source is a device, by its name: that of another
// machine cannot be asked.
func (j Job) readsDevice() bool { return within(j.Options.Source, "/dev") }

// printKubernetes makes a ConfigMap with the job's file, a Secret with what is not
// for all to see, and the CronJob.
func (p *InstalledJob) printKubernetes(image string, out *Printed) error {
	if image == "" {
		return &UsageError{Msg: "--print kubernetes wants an image", Hint: "give one that has tinybackup in its PATH: --image registry.example.org/tinybackup:1.0"}
	}
	if strings.ContainsFunc(image, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &UsageError{Msg: fmt.Sprintf("%q is no image", image), Hint: "give one such as --image registry.example.org/tinybackup:1.0"}
	}
	schedule, err := p.spec.Cron()
	if err != nil {
		return p.cannot("kubernetes", err)
	}
	if _, known := knownZone(p.Zone); !known || p.Zone == "Local" || filepath.IsAbs(p.Zone) {
		return &UsageError{Msg: fmt.Sprintf("Kubernetes cannot know the time zone %q", p.Zone), Hint: "name one, such as TZ=Europe/Berlin tinybackup install --print kubernetes …"}
	}
	volumes, err := p.job.volumes()
	if err != nil {
		return err
	}
	secret, err := p.job.takeSecrets()
	if err != nil {
		return err
	}
	text, err := p.job.textFrom(rootDirs, nil)
	if err != nil {
		return err
	}
	var y yaml
	y.line(0, "# "+p.headline())
	p.yamlObject(&y, "v1", "ConfigMap")
	y.line(0, "data:")
	y.text(1, p.job.ID+".ini", string(text))
	if secret != "" {
		y.line(0, "---")
		p.yamlObject(&y, "v1", "Secret")
		y.line(0, "type: Opaque")
		y.line(0, "stringData:")
		y.text(1, sharedName, secret)
	}
	y.line(0, "---")
	p.yamlCronJob(&y, schedule)
	p.yamlPod(&y, image, volumes, secret != "")
	out.Text = y.String()
	zone := p.anchor.Location()
	if out.Notes = nil; !sameZone(zone, time.FixedZone("", offset(p.anchor)), p.anchor) {
		out.Notes = []string{"Kubernetes does not start what the clocks skip: the next run says that it was missed."}
	}
	out.Notes = append(out.Notes, "Paths are those of the node: on more than one, give the pod a nodeSelector.")
	if source := volumes[2]; source.kind == "Directory" {
		out.Notes = append(out.Notes, fmt.Sprintf("%q is taken for a directory: of a file, say type: File.", source.path))
	}
	if o := p.job.Options; slices.ContainsFunc(o.dests(), isRemote) && secret == "" && o.SSHIdentity == "" {
		out.Notes = append(out.Notes, "Nothing in the pod lets it into the destination: --s3-keys would be in a Secret; --ssh-identity and --known-hosts are files of the node.")
	}
	out.Steps = []string{"give it to the cluster: … | kubectl apply -f -"}
	return nil
}

// takeSecrets takes the options that are nobody else's business out of the job, and
// gives the text of a file of shared options that has them; empty: there are none.
func (j *Job) takeSecrets() (string, error) {
	var secret Options
	_, to := secret.fields()
	keys, from := j.Options.fields()
	found := false
	for _, key := range keys {
		if isSecret(key) && !from[key].IsZero() {
			to[key].Set(from[key])
			from[key].SetZero()
			found = true
		}
	}
	j.own = slices.DeleteFunc(j.own, isSecret)
	if !found {
		return "", nil
	}
	j.Options.Config = secretFile
	section, err := iniSection{name: "options", data: &secret, shared: true}.text()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	writeINI(&b, section)
	return b.String(), nil
}

// deadline is how late a run may still be started: as late as it is made up for.
func (p *InstalledJob) deadline() time.Duration {
	o := p.job.Options
	gap := p.gap()
	late := gap - min(sched.Guard, gap/2)
	switch {
	case o.CatchUp == "none":
		late = min(late, sched.OnTime)
	case o.Grace > 0:
		late = min(late, time.Duration(o.Grace))
	}
	const least = 30 * time.Second // it is looked at every ten seconds
	return max(late, least).Truncate(time.Second)
}

// tries is how often our own rules try a run that fails again, at most, and at
// least once: whoever ends with a warning ends well the second time.
func (p *InstalledJob) tries() int {
	gap := p.gap()
	end := gap - min(sched.Guard, gap/2)
	n := 0
	for waited := sched.Backoff(1); waited < end && n < maxTries; waited += sched.Backoff(n + 1) {
		n++
	}
	return max(n, 1)
}

// maxTries bounds tries for a job that seldom runs.
const maxTries = 10

// yamlObject begins an object.
func (p *InstalledJob) yamlObject(y *yaml, version, kind string) {
	y.line(0, "apiVersion: "+version)
	y.line(0, "kind: "+kind)
	y.line(0, "metadata:")
	y.value(1, "name", p.base())
	p.yamlLabels(y, 1)
}

func (p *InstalledJob) yamlLabels(y *yaml, depth int) {
	y.line(depth, "labels:")
	y.value(depth+1, "app.kubernetes.io/name", "tinybackup")
	y.value(depth+1, "app.kubernetes.io/instance", p.base())
}

// yamlCronJob is the CronJob down to its pod.
func (p *InstalledJob) yamlCronJob(y *yaml, schedule string) {
	p.yamlObject(y, "batch/v1", "CronJob")
	y.line(0, "spec:")
	y.value(1, "schedule", schedule)
	y.value(1, "timeZone", p.Zone)
	y.line(1, "concurrencyPolicy: Forbid")
	y.line(1, fmt.Sprintf("startingDeadlineSeconds: %d", int64(p.deadline()/time.Second)))
	y.line(1, "jobTemplate:")
	y.line(2, "spec:")
	y.line(3, "# A pod that ends with 1 has stored nothing: the next one tries again. With 3 it has, with")
	y.line(3, "# warnings: the next one finds that there is nothing to do, and ends well. 2 is a job file")
	y.line(3, "# that cannot be used, which no other pod mends.")
	y.line(3, fmt.Sprintf("backoffLimit: %d", p.tries()))
	y.line(3, "podFailurePolicy:")
	y.line(4, "rules:")
	y.line(4, "- action: FailJob")
	y.line(5, "onExitCodes:")
	y.line(6, "operator: In")
	y.line(6, "values: [2]")
	y.line(4, "- action: Ignore")
	y.line(5, "onPodConditions:")
	y.line(5, "- type: DisruptionTarget")
	y.line(6, `status: "True"`)
	y.line(3, "template:")
}

// yamlPod is the pod's template.
func (p *InstalledJob) yamlPod(y *yaml, image string, volumes []volume, secret bool) {
	y.line(4, "metadata:")
	p.yamlLabels(y, 5)
	y.line(4, "spec:")
	y.line(5, "restartPolicy: Never")
	y.value(5, "hostname", p.base())
	y.line(5, "automountServiceAccountToken: false")
	y.line(5, "containers:")
	y.line(5, "- name: tinybackup")
	y.value(6, "image", image)
	y.line(6, "command:")
	for _, word := range []string{"tinybackup", "run", "--retry", "--job", p.job.Path} {
		y.line(6, "- "+strconv.Quote(word))
	}
	y.line(6, "securityContext:")
	y.line(7, "runAsUser: 0")
	if p.job.readsDevice() {
		y.line(7, "privileged: true")
	} else {
		y.line(7, "allowPrivilegeEscalation: false")
	}
	y.line(6, "volumeMounts:")
	mount := func(name, path string, write bool) {
		y.line(6, "- name: "+name)
		y.value(7, "mountPath", path)
		if !write {
			y.line(7, "readOnly: true")
		}
	}
	mount("job", filepath.Dir(p.job.Path), false)
	if secret {
		mount("secret", secretDir, false)
	}
	for _, v := range volumes {
		mount(v.name, v.path, v.write)
	}
	y.line(5, "volumes:")
	y.line(5, "- name: job")
	y.line(6, "configMap:")
	y.value(7, "name", p.base())
	y.line(7, ownerOnly)
	if secret {
		y.line(5, "- name: secret")
		y.line(6, "secret:")
		y.value(7, "secretName", p.base())
		y.line(7, ownerOnly)
	}
	for _, v := range volumes {
		y.line(5, "- name: "+v.name)
		y.line(6, "hostPath:")
		y.value(7, "path", v.path)
		y.line(7, "type: "+v.kind)
	}
}

// ownerOnly is the mode that a job file has to have, in decimal, as JSON knows no other.
const ownerOnly = "defaultMode: 256 # 0400"

// A yaml is a text of YAML in the making. Every value from outside is in double
// quotes, where Go's escapes are YAML's (YAML 1.2, 5.7); or a literal block, if all
// of it can be seen.
type yaml struct{ strings.Builder }

// line is one line, indented by so many steps.
func (y *yaml) line(depth int, text string) {
	y.WriteString(strings.Repeat("  ", depth) + text + "\n")
}

// value is a key with a text.
func (y *yaml) value(depth int, key, text string) { y.line(depth, key+": "+strconv.Quote(text)) }

// text is a key with a text of several lines.
func (y *yaml) text(depth int, key, text string) {
	hidden := func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }
	if strings.ContainsFunc(text, hidden) || strings.HasPrefix(text, " ") || !strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\n\n") {
		y.value(depth, key, text)
		return
	}
	y.line(depth, key+": |")
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			y.WriteString("\n")
			continue
		}
		y.line(depth+1, line)
	}
}
