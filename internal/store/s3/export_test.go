package s3

// BeEven is for tests.
func (d *Driver) BeEven() { d.beEven() }

// Reached is for tests: whether it is waited for the service as for one that was there.
func (d *Driver) Reached() bool { return d.reached.Load() }
