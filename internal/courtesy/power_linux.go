package courtesy

import (
	"os"
	"path/filepath"
	"strings"
)

// CanTellPower says that this system knows OnBattery.
const CanTellPower = true

// OnBattery says whether the machine runs on a battery now. One that does not tell
// does not.
func OnBattery() bool { return onBattery("/sys/class/power_supply") }

// onBattery goes by the kernel's sysfs-class-power: no supply from outside is online,
// and a battery of the machine itself, not of a mouse, is being discharged.
func onBattery(dir string) bool {
	supplies, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	discharging := false
	for _, s := range supplies {
		value := func(key string) string {
			text, _ := os.ReadFile(filepath.Join(dir, s.Name(), key)) // not all have all
			return strings.TrimSpace(string(text))
		}
		if value("scope") == "Device" {
			continue
		}
		switch value("type") {
		case "Battery":
			discharging = discharging || value("status") == "Discharging"
		case "Mains", "USB":
			if online := value("online"); online != "" && online != "0" {
				return false
			}
		}
	}
	return discharging
}
