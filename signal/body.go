package signal

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"assay.dev/assay"
	"github.com/golang/snappy"
)

// Identify says who sends a request, from its credential: namespace and name.
// An error is answered as it is; assay.CodeUnauthenticated or CodeDenied.
type Identify func(*http.Request) (namespace, name string, err error)

// Enter takes one of the slots for bodies; leave gives it back. Without a free
// one it answers CodeUnavailable at once: a waiting body would take memory too.
func (in *Intake) Enter() (leave func(), err error) {
	select {
	case in.slots <- struct{}{}:
		return func() { <-in.slots }, nil
	default:
		return nil, assay.Errorf(assay.CodeUnavailable, "%d bodies are being read already; send again in a second", MaxInFlight)
	}
}

// Body reads a request's body within MaxBody and the intake's BodyTime and decompresses
// it within MaxDecoded, so that neither size nor slowness of one sender is felt
// by another. coding is "", identity, gzip or snappy (block format).
// CodeTooLarge, CodeInvalid, or CodeUnavailable if the sender was too slow.
func (in *Intake) Body(w http.ResponseWriter, r *http.Request, coding string) (data []byte, sent int, err error) {
	// Deadlines are the network's own time. A connection that cannot have a deadline is one of a test; it is bounded by its context.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(in.cfg.BodyTime))
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		switch _, large := errors.AsType[*http.MaxBytesError](err); {
		case large:
			return nil, len(raw), assay.Errorf(assay.CodeTooLarge, "the body has more than %d bytes", MaxBody)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, len(raw), assay.Errorf(assay.CodeUnavailable, "the body did not come within %s", in.cfg.BodyTime)
		}
		return nil, len(raw), assay.Errorf(assay.CodeInvalid, "the body ends early: %w", err)
	}
	data, err = inflate(raw, coding)
	return data, len(raw), err
}

// inflate decompresses within MaxDecoded.
func inflate(raw []byte, coding string) ([]byte, error) {
	switch coding {
	case "", "identity":
		return raw, nil
	case "gzip":
		zr, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "the body is not gzip: %w", err)
		}
		data, err := io.ReadAll(io.LimitReader(zr, MaxDecoded+1))
		if len(data) > MaxDecoded {
			return nil, bomb()
		}
		if err != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "the gzip body is broken: %w", err)
		}
		return data, nil
	case "snappy":
		n, err := snappy.DecodedLen(raw)
		if err != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "the body is not snappy: %w", err)
		}
		if n > MaxDecoded {
			return nil, bomb() // the length stands in front, before any memory is taken
		}
		data, err := snappy.Decode(nil, raw)
		if err != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "the snappy body is broken: %w", err)
		}
		return data, nil
	}
	return nil, &assay.Error{Code: assay.CodeInvalid, Field: "Content-Encoding", Msg: fmt.Sprintf("%s is not known here", clip(coding)), Hint: "send gzip, snappy or none"}
}

func bomb() error {
	return assay.Errorf(assay.CodeTooLarge, "the body has more than %d bytes when decompressed", MaxDecoded)
}

// Status is the HTTP status for an intake error, and its outcome for Request.
// What may be sent again is 503, which every sender of telemetry retries; being
// out of slots is 429 with the same meaning.
func Status(err error) (status int, outcome string) {
	switch assay.CodeOf(err) {
	case assay.CodeTooLarge:
		return http.StatusRequestEntityTooLarge, "too_large"
	case assay.CodeUnauthenticated:
		return http.StatusUnauthorized, "denied"
	case assay.CodeDenied:
		return http.StatusForbidden, "denied"
	case assay.CodeInvalid:
		return http.StatusBadRequest, "invalid"
	case assay.CodeUnavailable:
		return http.StatusServiceUnavailable, "unavailable"
	}
	return http.StatusInternalServerError, "unavailable"
}
