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
	"github.com/aws/aws-lambda-go/lambda"
)

// FunctionConfig says where a function writes what came of an event.
type FunctionConfig struct {
	Database string // "http://host:port"
	Runtime  string // host:port of the Runtime API, as its platform says it
}

// result is what a function worked out, for the database.
type result struct {
	ID  uint64 `json:"id"`
	Sum string `json:"sum"`
}

// outcome is what a function answers to its platform.
type outcome struct {
	ID    uint64  `json:"id"`
	Write float64 `json:"write"` // how long the database took, seconds
}

// Function is a function for AWS Lambda, written with the module of AWS: it works on one
// event at a time, writes what came of it to the database, and says how long that took. It
// runs until ctx ends; a platform that is gone ends the program. CodeInvalid if it is not
// told where its platform and its database are.
func Function(ctx context.Context, c FunctionConfig) error {
	if c.Database == "" || c.Runtime == "" {
		return assay.Errorf(assay.CodeInvalid, "database %q and Runtime API %q: both are needed; a platform of functions starts it with AWS_LAMBDA_RUNTIME_API", c.Database, c.Runtime)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}
	defer client.CloseIdleConnections()
	go lambda.StartWithOptions(func(ctx context.Context, e event) (outcome, error) {
		sum := handled(e)
		began := time.Now()
		_, err := post(ctx, client, c.Database+rowsPath, result{ID: e.ID, Sum: sum})
		return outcome{ID: e.ID, Write: time.Since(began).Seconds()}, err
	}, lambda.WithContext(ctx))
	<-ctx.Done()
	return nil
}

// post sends a document and returns what is answered; an error if it is refused.
func post(ctx context.Context, client *http.Client, url string, document any) ([]byte, error) {
	status, answer, err := exchange(ctx, client, url, document)
	if err == nil && status >= http.StatusBadRequest {
		err = assay.Errorf(assay.CodeUnavailable, "%s answered %d: %.200s", url, status, answer)
	}
	return answer, err
}

// exchange sends a document and returns what is answered.
func exchange(ctx context.Context, client *http.Client, url string, document any) (status int, answer []byte, err error) {
	body, err := json.Marshal(document)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, answer, err
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
