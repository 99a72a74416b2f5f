package main

import (
	"fmt"
	"time"
)

// budgetsConfig says how budgets are kept. The budgets themselves are in the database.
type budgetsConfig struct {
	// Zone is the name of the time zone whose calendar decides when periods begin and end. Empty: UTC.
	Zone string `yaml:"zone"`
}

// zone returns the time zone.
func (b budgetsConfig) zone() (*time.Location, error) { return budgetZone(b.Zone) }

// budgetZone returns the time zone of a name, which is UTC if it is empty.
func budgetZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // Which zone that is depends on the process.
		return nil, fmt.Errorf("zone is %q: write the name of a time zone, such as Europe/Zurich or UTC", name)
	}
	return zone, nil
}
