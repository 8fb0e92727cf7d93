package control

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
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
	// MaxTokenLife is the longest life of a token.
	MaxTokenLife = 366 * 24 * time.Hour
)

// tokenRecord is a token as stored: only the hash of its secret. The secret has
// 256 random bits, so a plain hash needs no salt and no stretching.
type tokenRecord struct {
	Token api.Token `json:"token"`
	Hash  string    `json:"hash"` // hex SHA-256 of the secret part
}

// Authenticate turns a bearer token into the caller it stands for. Every
// failure is the same CodeUnauthenticated error, so that an answer does not
// tell which part was wrong.
func (p *Plane) Authenticate(ctx context.Context, bearer string) (Caller, error) {
	refused := assay.Errorf(assay.CodeUnauthenticated,
		"the bearer token is missing, unknown, expired or revoked; create one with: assay token create")
	id, secret, ok := splitToken(bearer)
	if !ok {
		return Caller{}, refused
	}
	var rec tokenRecord
	err := p.cfg.Store.View(ctx, func(r store.Reader) error {
		v, err := r.Get(tokenKey(id))
		if err != nil {
			return err
		}
		return json.Unmarshal(v.Data, &rec)
	})
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return Caller{}, err
	}
	sum := sha256.Sum256([]byte(secret))
	match := subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(rec.Hash)) == 1
	now := p.cfg.Now()
	if err != nil || !match || !rec.Token.Revoked.IsZero() || !now.Before(rec.Token.Expires) {
		return Caller{}, refused
	}
	return Caller{Name: rec.Token.Name, Namespace: rec.Token.Namespace, Roles: rec.Token.Roles}, nil
}

// CreateToken makes a token. The secret is in the answer and nowhere else.
func (s *Session) CreateToken(ctx context.Context, req api.TokenRequest) (api.NewToken, error) {
	if err := s.require(api.RoleAdmin); err != nil {
		return api.NewToken{}, err
	}
	now := s.p.cfg.Now()
	if err := checkTokenRequest(req, now); err != nil {
		return api.NewToken{}, err
	}
	raw := make([]byte, 8+32)
	if _, err := s.p.cfg.Rand.Read(raw); err != nil {
		return api.NewToken{}, assay.Errorf(assay.CodeInternal, "no randomness: %w", err)
	}
	id, secret := hex.EncodeToString(raw[:8]), base64.RawURLEncoding.EncodeToString(raw[8:])
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
		return s.appendSystem(tx, assay.FactTokenCreated, rec.Token)
	})
	return api.NewToken{Token: rec.Token, Secret: tokenPrefix + "_" + id + "_" + secret}, err
}

// RevokeToken ends a token at once.
func (s *Session) RevokeToken(ctx context.Context, id string) (api.Token, error) {
	var rec tokenRecord
	if err := s.require(api.RoleAdmin); err != nil {
		return api.Token{}, err
	}
	err := s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		v, err := tx.Get(tokenKey(id))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(v.Data, &rec); err != nil {
			return err
		}
		if !rec.Token.Revoked.IsZero() {
			return assay.Errorf(assay.CodeConflict, "token %s was revoked at %s", id, rec.Token.Revoked.Format(time.RFC3339))
		}
		rec.Token.Revoked = s.p.cfg.Now().UTC()
		if err := putToken(tx, rec, v.Version); err != nil {
			return err
		}
		return s.appendSystem(tx, assay.FactTokenRevoked, rec.Token)
	})
	return rec.Token, err
}

// Tokens lists all tokens, without secrets.
func (s *Session) Tokens(ctx context.Context) ([]api.Token, error) {
	if err := s.require(api.RoleAdmin); err != nil {
		return nil, err
	}
	var list []api.Token
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
				list = append(list, rec.Token)
				after = v.Key.Name
			}
		}
	})
	slices.SortFunc(list, func(a, b api.Token) int { return a.Created.Compare(b.Created) })
	return list, err
}

// appendSystem records what concerns the installation and no tenant.
func (s *Session) appendSystem(tx store.Tx, kind string, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = tx.Append(assay.Fact{
		Kind: kind, Version: 1, Time: s.p.cfg.Now().UTC(), Namespace: systemNamespace,
		Actor: s.caller.Name, Retention: assay.RetainAudit, Payload: payload,
	})
	return err
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
	return id, secret, ok && len(id) == 16 && secret != ""
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
	for _, r := range req.Roles {
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
