//go:build !race

package tinybackup

const withRace = false
