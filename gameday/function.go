package gameday

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Paths of a broker.
const (
	takePath = "/take"
	rowsPath = "/rows"
)

// FunctionConfig says which events a function handles.
type FunctionConfig struct {
	Queue string // "http://host:port" of the broker
	Name  string // of the function, for the broker
}

// Function handles one event after the other until ctx ends: it asks the broker for one,
// works on it, and writes what came of it to the database. A broker that does not answer
// is asked again. CodeInvalid if it is not told where the broker is.
func Function(ctx context.Context, c FunctionConfig) error {
	if c.Queue == "" || c.Name == "" {
		return assay.Errorf(assay.CodeInvalid, "queue %q and name %q: both are needed", c.Queue, c.Name)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}
	defer client.CloseIdleConnections()
	var done uint64
	for ctx.Err() == nil {
		e, ok, err := takeOne(ctx, client, c, done)
		if err == nil && ok {
			done = 0
			if _, err = post(ctx, client, c.Queue+rowsPath, result{ID: e.ID, Sum: handled(e)}); err == nil {
				done = e.ID
			}
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// takeOne asks for an event, false if there is none now.
func takeOne(ctx context.Context, client *http.Client, c FunctionConfig, done uint64) (e event, ok bool, err error) {
	answer, err := post(ctx, client, c.Queue+takePath, assignment{Function: c.Name, Done: done})
	if err != nil || len(answer) == 0 {
		return e, false, err
	}
	err = strict.JSON(answer, &e)
	return e, err == nil, err
}

// post sends a document and returns what is answered.
func post(ctx context.Context, client *http.Client, url string, document any) ([]byte, error) {
	body, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && res.StatusCode >= http.StatusBadRequest {
		err = assay.Errorf(assay.CodeUnavailable, "%s answered %d: %.200s", url, res.StatusCode, answer)
	}
	return answer, err
}

// rounds is how much work an event is: some tenths of a millisecond.
const rounds = 2000

// handled is the work that an event is, and what comes of it.
func handled(e event) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", e.Class, e.ID))
	for range rounds {
		sum = sha256.Sum256(sum[:])
	}
	return hex.EncodeToString(sum[:])
}
