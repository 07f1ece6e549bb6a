//go:build race

package tinybackup

const withRace = true
