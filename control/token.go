package control

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
)

// systemNamespace holds what belongs to the installation and to no tenant.
// Tenants cannot be called this: their names do not start with "_".
const systemNamespace = store.SystemNamespace

const (
	tokenPrefix = "assay"
	tokenBucket = "token"
	idBytes     = 8
	secretBytes = 32
	// MaxTokenLife is the longest life of a token.
	MaxTokenLife = 366 * 24 * time.Hour
)

// tokenRecord is a token as stored: only the hash of its secret. The secret has
// 256 random bits, so a plain hash needs no salt and no stretching.
type tokenRecord struct {
	Token api.Token `json:"token"`
	Hash  string    `json:"hash"` // hex SHA-256 of the secret part
}

// refused is what every credential that is not good is answered, so that an answer does
// not tell which part was wrong.
func refused() error {
	return assay.Errorf(assay.CodeUnauthenticated,
		"the bearer token is missing, unknown, expired or revoked; create one with: assay token create")
}

// Authenticate turns a bearer token into the caller it stands for. Every failure is the
// same CodeUnauthenticated error.
func (p *Plane) Authenticate(ctx context.Context, bearer string) (Caller, error) {
	id, secret, ok := splitToken(bearer)
	if !ok {
		return Caller{}, refused()
	}
	rec, err := p.token(ctx, id)
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return Caller{}, err
	}
	sum := sha256.Sum256([]byte(secret))
	match := subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(rec.Hash)) == 1
	if err != nil || !match {
		return Caller{}, refused()
	}
	return rec.caller(p.cfg.Now())
}

// Resume is the caller that a token stands for, by the token's id, of somebody who proved
// to have the token before: a session. It fails as Authenticate does once the token ended.
func (p *Plane) Resume(ctx context.Context, tokenID string) (Caller, error) {
	if !isTokenID(tokenID) {
		return Caller{}, refused()
	}
	rec, err := p.token(ctx, tokenID)
	switch {
	case assay.CodeOf(err) == assay.CodeNotFound:
		return Caller{}, refused()
	case err != nil:
		return Caller{}, err
	}
	return rec.caller(p.cfg.Now())
}

// TokenID is the part of a bearer token that is no secret, "" if it is none.
func TokenID(bearer string) string {
	id, _, _ := splitToken(bearer)
	return id
}

func (p *Plane) token(ctx context.Context, id string) (rec tokenRecord, err error) {
	err = p.cfg.Store.View(ctx, func(r store.Reader) error {
		v, err := r.Get(tokenKey(id))
		if err != nil {
			return err
		}
		return json.Unmarshal(v.Data, &rec)
	})
	return rec, err
}

// caller is who a token stands for while it is good.
func (r tokenRecord) caller(now time.Time) (Caller, error) {
	if !r.Token.Revoked.IsZero() || !now.Before(r.Token.Expires) {
		return Caller{}, refused()
	}
	return Caller{Name: r.Token.Name, Namespace: r.Token.Namespace, Roles: r.Token.Roles}, nil
}

// CreateToken makes a token for the caller's namespace, also if the request
// names none. The secret is in the answer and nowhere else.
func (s *Session) CreateToken(ctx context.Context, req api.TokenRequest) (api.NewToken, error) {
	if err := s.require(api.RoleAdmin); err != nil {
		return api.NewToken{}, err
	}
	now := s.p.cfg.Now()
	req.Namespace = cmp.Or(req.Namespace, s.caller.Namespace)
	if err := checkTokenRequest(req, now); err != nil {
		return api.NewToken{}, err
	}
	if req.Namespace != s.caller.Namespace {
		return api.NewToken{}, assay.Errorf(assay.CodeDenied,
			"%q is an admin of namespace %q and cannot make tokens for %q", s.caller.Name, s.caller.Namespace, req.Namespace)
	}
	raw := make([]byte, idBytes+secretBytes)
	if _, err := io.ReadFull(s.p.cfg.Rand, raw); err != nil {
		return api.NewToken{}, assay.Errorf(assay.CodeInternal, "no randomness: %w", err)
	}
	id, secret := hex.EncodeToString(raw[:idBytes]), base64.RawURLEncoding.EncodeToString(raw[idBytes:])
	sum := sha256.Sum256([]byte(secret))
	rec := tokenRecord{
		Token: api.Token{
			ID: id, Name: req.Name, Namespace: req.Namespace, Roles: req.Roles,
			Created: now.UTC(), Expires: req.Expires.UTC(),
		},
		Hash: hex.EncodeToString(sum[:]),
	}
	err := s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if err := putToken(tx, rec, 0); err != nil {
			return err
		}
		_, err := s.appendSystem(tx, assay.FactTokenCreated, rec.Token)
		return err
	})
	if err != nil {
		return api.NewToken{}, err
	}
	return api.NewToken{Token: rec.Token, Secret: tokenPrefix + "_" + id + "_" + secret}, nil
}

// RevokeToken ends a token of the caller's namespace at once.
func (s *Session) RevokeToken(ctx context.Context, id string) (api.Token, error) {
	var rec tokenRecord
	if err := s.require(api.RoleAdmin); err != nil {
		return api.Token{}, err
	}
	unknown := hinted(assay.Errorf(assay.CodeNotFound, "token %q is not known in namespace %q", id, s.caller.Namespace), listTokens)
	if !isTokenID(id) {
		return api.Token{}, unknown
	}
	err := s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		v, err := tx.Get(tokenKey(id))
		if assay.CodeOf(err) == assay.CodeNotFound {
			return unknown
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal(v.Data, &rec); err != nil {
			return err
		}
		if rec.Token.Namespace != s.caller.Namespace {
			return unknown
		}
		if !rec.Token.Revoked.IsZero() {
			return assay.Errorf(assay.CodeConflict, "token %s was revoked at %s", id, rec.Token.Revoked.Format(time.RFC3339))
		}
		rec.Token.Revoked = s.p.cfg.Now().UTC()
		if err := putToken(tx, rec, v.Version); err != nil {
			return err
		}
		_, err = s.appendSystem(tx, assay.FactTokenRevoked, rec.Token)
		return err
	})
	if err != nil {
		return api.Token{}, err
	}
	return rec.Token, nil
}

// Tokens lists the tokens of the caller's namespace, oldest first, without secrets.
func (s *Session) Tokens(ctx context.Context) ([]api.Token, error) {
	if err := s.require(api.RoleAdmin); err != nil {
		return nil, err
	}
	list := []api.Token{}
	err := s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		for after := ""; ; {
			page, err := r.List(store.Key{Namespace: systemNamespace, Bucket: tokenBucket}, after, 500)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, v := range page {
				var rec tokenRecord
				if err := json.Unmarshal(v.Data, &rec); err != nil {
					return err
				}
				if rec.Token.Namespace == s.caller.Namespace {
					list = append(list, rec.Token)
				}
				after = v.Key.Name
			}
		}
	})
	slices.SortFunc(list, func(a, b api.Token) int { return a.Created.Compare(b.Created) })
	return list, err
}

// appendSystem records what concerns the installation and no tenant.
func (s *Session) appendSystem(tx store.Tx, kind string, v any) (assay.FactID, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return tx.Append(assay.Fact{
		Kind: kind, Version: 1, Time: s.p.cfg.Now().UTC(), Namespace: systemNamespace,
		Actor: s.caller.Name, Retention: assay.RetainAudit, Payload: payload,
	})
}

func putToken(tx store.Tx, rec tokenRecord, ifVersion int64) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	_, err = tx.Put(tokenKey(rec.Token.ID), data, ifVersion)
	return err
}

func tokenKey(id string) store.Key {
	return store.Key{Namespace: systemNamespace, Bucket: tokenBucket, Name: id}
}

func splitToken(bearer string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(bearer, tokenPrefix+"_")
	if !ok || len(rest) > 128 {
		return "", "", false
	}
	id, secret, ok = strings.Cut(rest, "_")
	return id, secret, ok && isTokenID(id) && secret != ""
}

// isTokenID keeps what no token can be called away from the store.
func isTokenID(id string) bool {
	return len(id) == 2*idBytes && strings.Trim(id, "0123456789abcdef") == ""
}

func checkTokenRequest(req api.TokenRequest, now time.Time) error {
	if err := checkName("name", req.Name); err != nil {
		return err
	}
	if err := CheckNamespace(req.Namespace); err != nil {
		return err
	}
	if len(req.Roles) == 0 {
		return &assay.Error{Code: assay.CodeInvalid, Field: "roles", Msg: "is empty; give at least one role"}
	}
	for i, r := range req.Roles {
		if slices.Contains(req.Roles[:i], r) {
			return &assay.Error{Code: assay.CodeInvalid, Field: "roles", Msg: fmt.Sprintf("names %q twice", r)}
		}
		if !slices.Contains(api.Roles, r) {
			return &assay.Error{Code: assay.CodeInvalid, Field: "roles", Msg: strict.OneOf(string(r), words(api.Roles))}
		}
	}
	if !req.Expires.After(now) || req.Expires.After(now.Add(MaxTokenLife)) {
		return &assay.Error{
			Code: assay.CodeInvalid, Field: "expires",
			Msg: "must lie between now and 366 days from now; a token without an end is not made",
		}
	}
	return nil
}

func words[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}
