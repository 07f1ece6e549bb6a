package s3

// BeEven is for tests.
func (d *Driver) BeEven() { d.beEven() }
