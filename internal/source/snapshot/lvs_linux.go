package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A volume is a logical volume, as lvs(8) tells of it.
type volume struct {
	vg, lv  string
	id      string // UUID without dashes
	attr    string // ten letters, see lvs(8)
	size    int64  // bytes; of a classic snapshot: for changes
	device  string // in /dev
	origin  string // of a snapshot
	pool    string // of a thin volume
	free    int64  // bytes of its volume group that no volume has
	tags    []string
	used    float64 // percent: of a snapshot's size, of a pool's
	invalid bool    // a snapshot that was full
}

func (v volume) name() string   { return v.vg + "/" + v.lv }
func (v volume) thin() bool     { return v.pool != "" }
func (v volume) readOnly() bool { return v.attr[1] == 'r' || v.attr[1] == 'R' }
func (v volume) active() bool   { return v.attr[4] == 'a' }

// watched says whether the volume has snapshots already, which somebody may watch.
func (v volume) watched() bool { return v.attr[0] == 'o' || v.attr[0] == 'O' }

// columns are what is asked of lvs, in the words of its JSON.
var columns = []string{
	"vg_name", "lv_name", "lv_uuid", "lv_attr", "lv_size", "lv_dm_path", "origin", "pool_lv", "vg_free",
	"lv_tags", "data_percent", "lv_snapshot_invalid",
}

// volumes asks for logical volumes: those that what names, or all.
func volumes(ctx context.Context, r Runner, what ...string) ([]volume, error) {
	args := append([]string{"--reportformat", "json", "--units", "b", "--nosuffix", "-o", strings.Join(columns, ",")}, what...)
	text, err := r.Run(ctx, "lvs", args...)
	if err != nil {
		return nil, err
	}
	return parseVolumes(text)
}

// parseVolumes reads what lvs prints. All values in it are strings.
func parseVolumes(text []byte) ([]volume, error) {
	var printed struct {
		Report []struct {
			LV []map[string]string `json:"lv"`
		} `json:"report"`
	}
	if err := json.Unmarshal(text, &printed); err != nil {
		return nil, fmt.Errorf("lvs: %w", err)
	}
	var all []volume
	for _, report := range printed.Report {
		for _, row := range report.LV {
			v, err := newVolume(row)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
	}
	return all, nil
}

func newVolume(row map[string]string) (v volume, err error) {
	for _, column := range columns {
		if _, there := row[column]; !there {
			return v, fmt.Errorf("lvs: it does not tell %s", column)
		}
	}
	v = volume{
		vg: row["vg_name"], lv: row["lv_name"], id: strings.ReplaceAll(row["lv_uuid"], "-", ""), attr: row["lv_attr"],
		device: row["lv_dm_path"], origin: row["origin"], pool: row["pool_lv"], invalid: row["lv_snapshot_invalid"] == "snapshot invalid",
		tags: strings.FieldsFunc(row["lv_tags"], func(c rune) bool { return c == ',' }),
	}
	if len(v.attr) < 10 || v.vg == "" || v.lv == "" {
		return v, fmt.Errorf("lvs: attributes %q of %q", v.attr, v.name())
	}
	if v.size, err = strconv.ParseInt(row["lv_size"], 10, 64); err == nil {
		v.free, err = strconv.ParseInt(row["vg_free"], 10, 64)
	}
	if text := row["data_percent"]; err == nil && text != "" {
		v.used, err = strconv.ParseFloat(text, 64)
	}
	if err != nil {
		return v, fmt.Errorf("lvs: %s: %w", v.name(), err)
	}
	// I and S: a snapshot that is invalid, and one that is suspended as well.
	v.invalid = v.invalid || slices.Contains([]byte("IS"), v.attr[4])
	return v, nil
}

// one asks for one logical volume, by its name.
func one(ctx context.Context, r Runner, name string) (volume, error) {
	found, err := volumes(ctx, r, name)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("lvs tells of %d volumes %s", len(found), name)
	}
	if err != nil {
		return volume{}, err
	}
	return found[0], nil
}
