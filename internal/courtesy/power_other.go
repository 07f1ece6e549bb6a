//go:build !linux

package courtesy

// CanTellPower says that this system knows OnBattery.
const CanTellPower = false

// OnBattery says whether the machine runs on a battery now: not known here.
func OnBattery() bool { return false }
