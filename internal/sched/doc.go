// Package sched answers when a job runs: it parses time specifications, computes their slots, and keeps them in at, cron or the built-in service.
package sched
