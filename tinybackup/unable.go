package tinybackup

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
)

// A job that cannot even be started has no run, no slot and no line in its history.
// Those who want to hear are told all the same: once, and when it can again.

// cannot has it told that the job could not be started. onTime says that it should
// have been just now, and not some time before.
func (h *herald) cannot(err error, exit int, onTime bool) {
	if h == nil {
		return
	}
	h.unable, h.onTime = err.Error(), onTime
	h.tell(news{EventFailure, h.tale.failed(titleUnable, err, Report{}, "", "")})
	h.ping(exit, outcomeText(Report{}, err))
}

// ableAgain is the letter that a job can be started which could not be.
func (h *herald) ableAgain(box *outbox) []letter {
	if h.unable != "" || box.Unable == "" || len(h.o.Notify) == 0 || !h.o.wants(EventRecovery) {
		return nil
	}
	return []letter{h.letter(h.tale.plain(titleAble, "What kept it from running is gone: "+box.Unable, ""))}
}

// tellUnable tells that a job's file cannot be used, as far as the file still says
// whom to tell. ref is the job's id or the path of its file.
func tellUnable(ctx context.Context, env Env, ref string, err error) {
	job, ok := glance(env.Dirs, ref)
	if !ok {
		return
	}
	h := newHerald(env, job.Options, &job)
	h.cannot(err, exitStatus(ctx, err), false)
	h.speak(ctx)
}

// glance reads of a job's file what is needed to tell that it cannot be used, and
// the shared options for what it does not say. A file that somebody else could have
// written is not looked at.
func glance(dirs Dirs, ref string) (job Job, ok bool) {
	path := ref
	if !filepath.IsAbs(path) {
		path = filepath.Join(dirs.Jobs, ref+".ini")
	}
	id, err := idOf(path)
	if err != nil {
		return Job{}, false
	}
	text, _, err := readOwn("job file", path, 0o022)
	if err != nil {
		return Job{}, false
	}
	job = Job{ID: id, Path: path}
	job.skim(text)
	o := &job.Options
	shared, err := readShared(o.Config, filepath.Dir(path))
	if err != nil {
		shared = skimShared(o.Config, filepath.Dir(path))
	}
	o.under(o.given(), shared.options, shared.where)
	o.onlyUsable()
	o.fillDefaults()
	state, log := jobDefaults(dirs, id, o.Name)
	if !filepath.IsAbs(job.StateDir) {
		job.StateDir = state
	}
	if !filepath.IsAbs(job.LogFile) {
		job.LogFile = log
	}
	return job, len(o.Notify) > 0 || o.Ping != ""
}

// skimShared is what can be made out of shared options that cannot be used.
func skimShared(config, jobs string) sharedFile {
	path := config
	if path == "" {
		path = filepath.Join(filepath.Dir(jobs), sharedName)
	}
	text, _, err := readOwn("config file", path, 0o022)
	if err != nil {
		return sharedFile{}
	}
	var job Job
	job.skim(text)
	only := Options{Notify: job.Options.Notify, NotifyOn: job.Options.NotifyOn, Ping: job.Options.Ping}
	return sharedFile{options: only, where: only.given()}
}

// skim takes from the text of a job's file, or of shared options, who is to be told,
// and of what backup: lines that make no sense are passed over.
func (j *Job) skim(text []byte) {
	o, section, bot := &j.Options, "", telegram{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		if plain, err := strconv.Unquote(value); err == nil {
			value = plain
		}
		switch section + "." + strings.TrimSpace(key) {
		case "job.state":
			j.StateDir = value
		case "job.log":
			j.LogFile = value
		case "options.name":
			o.Name = value
		case "options.source":
			o.Source = value
		case "options.dest":
			o.Dest = value
		case "options.config":
			o.Config = value
		case "options.ping":
			o.Ping = ServiceURL(value)
		case "options.notify":
			o.Notify = append(o.Notify, ServiceURL(value))
		case "options.notify-on":
			_ = o.NotifyOn.UnmarshalFlag(value) // else the default
		case telegramSection + ".bot_token":
			bot.Token = value
		case telegramSection + ".chat_id":
			bot.Chat = value
		}
	}
	if url, err := bot.url(); err == nil && url != "" {
		o.Notify = append(o.Notify, ServiceURL(url))
	}
}
