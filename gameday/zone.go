package gameday

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"time"
)

// dayZone is a time zone that the control plane of a yard finds in a folder of the yard's.
const dayZone = "Yard/Day"

// zoneAt is a time zone, as the database of time zones writes one, in which it is midnight
// at t: a day can end while a play runs, by the clock that everybody has.
func zoneAt(t time.Time) []byte {
	const day = 24 * 60 * 60
	east := -(t.Unix() % day)
	if east < -day/2 {
		east += day
	}
	out := make([]byte, 44, 54) // TZif, version 1: a header with the number of types and of letters
	copy(out, "TZif")
	binary.BigEndian.PutUint32(out[36:], 1)
	binary.BigEndian.PutUint32(out[40:], 4)
	out = binary.BigEndian.AppendUint32(out, uint32(int32(east)))
	return append(out, 0, 0, 'D', 'A', 'Y', 0) // no summer time; its name is the first one
}

// setMidnight makes t midnight in dayZone.
func (y *yard) setMidnight(t time.Time) error {
	file := filepath.Join(y.zones, filepath.FromSlash(dayZone))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, zoneAt(t), 0o600)
}
