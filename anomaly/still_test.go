package anomaly_test

import (
	"math"
	"strings"
	"testing"
)

// A load that never changes is forecast exactly: its bands have no width and hold all that
// comes, and they are not too narrow.
func TestAForecastOfALoadThatNeverChangesIsNotTooSure(t *testing.T) {
	w := newWorld(t, "")
	const days = 3
	for i := range days * 24 * 60 {
		w.set(i, minuteOf{total: 617})
	}
	a := w.watcher()
	w.until(a, days*24*60)
	f, err := a.Foreseen("checkout", "checkout/0", w.now)
	if err != nil {
		t.Fatal(err)
	}
	if c := f.Calibration; c == nil || c.N < 500 || math.Abs(c.Cover80-0.8) > 0.01 || c.ChiP < 0.9 {
		t.Errorf("judged %+v", c)
	}
	if l := f.Load; l.Live < 0.999 || l.Sharpness != 0 || l.Trusted || !strings.Contains(l.Reason, "repeats itself exactly") {
		t.Errorf("held %.3f, %.3f wide, trusted %t: %s", l.Live, l.Sharpness, l.Trusted, l.Reason)
	}
}
