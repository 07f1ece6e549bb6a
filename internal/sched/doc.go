// Package sched answers when a job runs: it parses time specifications, computes
// their slots, and keeps them in at, cron, systemd, launchd or the built-in service.
//
// # Specifications
//
// Parse takes five cron fields, one of seven @-words, or the time grammar of at(1).
// Nothing else about a schedule is ever needed: the same text and the same anchor
// (the time of install, in the job's zone) give the same slots for ever, and this
// package never asks a clock.
//
//	30 2 * * mon-fri        cron: lists, ranges, steps and names; day of month and
//	                        weekday are either-or unless one of them starts with *
//	@daily                  @hourly @daily @midnight @weekly @monthly @yearly @annually
//	2:00am, 14h30, noon     a time of day repeats daily
//	9:00 monday             a weekday repeats weekly
//	15:00 27.04.2027        a date repeats yearly from its first occurrence, 29 February
//	                        in leap years
//	+7 minutes              N units repeat every N units, counted from the planned slot
//	3:00 + 1 year           first at the next day's or today's 3:00 plus a year, then
//	                        every year
//	2:30 - 1 day            the first slot is moved back; what is past rolls forward
//
// Minutes and hours after a + are elapsed time. Days, weeks, months and years keep
// the time on the wall; a month too short for the day uses its last day, and the
// next one is computed from the first again: 31 January + 1 month is 28 February,
// then 31 March.
//
// Slots are whole minutes, and none is at or before the anchor. What counts from
// "now", and a date without a time, count from the first whole minute not before it.
//
// # Differences to Debian's at
//
//   - `+1day` needs no now; `9`, `monday 9:00` and `tomorrow 9` are understood.
//   - `2:30 - 1 day` is not a year off, and `31 jan + 1 month` is not 3 March.
//   - `feb 30`, `24:00` and `9:60` are refused; `feb 29` waits for a leap year.
//   - A day of the year that is over is next year's; at refuses today's if its time is past.
//   - `now + 1 minute` is counted from the minute to come, not from the one running:
//     at would start it less than a minute from now.
//   - Weekdays are as in at: never today, so that `9:00 monday`, said on a Monday, means
//     the next one.
//
// # When the clocks change
//
// Slots are computed in wall-clock time and then mapped to the zone.
//
//   - A time that is skipped in spring happens at the first instant after the gap.
//     Several that meet there are one slot.
//   - A time that comes twice in autumn is a slot the first time only.
//   - Cron expressions with * as the hour follow the clock: they fire in both
//     repeated hours, and nothing is invented for an hour that is skipped.
//   - `+ N minutes` and `+ N hours` are elapsed time and know of no clocks.
//
// These are the rules of Debian's cron for the expressions [Spec.Cron] returns.
package sched
