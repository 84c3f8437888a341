// The bench's work as a plugin of Traefik: its own interpreter runs this source.
// Law: knows the tables that traefik.py writes, and net/http.
package benchpolicy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
)

type Config struct {
	Tables string `json:"tables"`
	Cap    int    `json:"cap"`
	Scheme string `json:"scheme"`
}

func CreateConfig() *Config { return &Config{} }

type Key struct {
	Account string          `json:"account"`
	Id      string          `json:"id"`
	Scopes  string          `json:"scopes"`
	Held    map[string]bool `json:"held"`
	First   uint32          `json:"first"`
	Last    uint32          `json:"last"`
}

type Tables struct {
	Keys   map[string]Key      `json:"keys"`
	Needs  map[string][]string `json:"needs"`
	Places []int               `json:"places"`
	Drop   map[string]bool     `json:"drop"`
}

type Policy struct {
	next   http.Handler
	tables Tables
	most   int
	scheme string
	lock   sync.Mutex
	flying map[string]int
}

func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	content, err := os.ReadFile(config.Tables)
	if err != nil {
		return nil, err
	}
	policy := &Policy{next: next, most: config.Cap, scheme: config.Scheme, flying: map[string]int{}}
	return policy, json.Unmarshal(content, &policy.tables)
}

func (policy *Policy) find(method string, path string) ([]string, bool) {
	need, ok := policy.tables.Needs[method+path]
	if ok {
		return need, true
	}
	parts := strings.Split(path, "/")
	for _, place := range policy.tables.Places {
		if place >= len(parts) {
			continue
		}
		kept := parts[place]
		parts[place] = "*"
		need, ok = policy.tables.Needs[method+strings.Join(parts, "/")]
		parts[place] = kept
		if ok {
			return need, true
		}
	}
	return nil, false
}

func (policy *Policy) decide(r *http.Request, address string) (int, Key) {
	digest := sha256.Sum256([]byte(r.Header.Get("X-Api-Key")))
	key, ok := policy.tables.Keys[hex.EncodeToString(digest[:])]
	if !ok {
		return 401, key
	}
	ip := net.ParseIP(address).To4()
	if ip == nil || binary.BigEndian.Uint32(ip) < key.First || binary.BigEndian.Uint32(ip) > key.Last {
		return 403, key
	}
	need, ok := policy.find(r.Method, r.URL.EscapedPath())
	if !ok {
		return 404, key
	}
	for _, scope := range need {
		if !key.Held[scope] {
			return 403, key
		}
	}
	return 0, key
}

func (policy *Policy) take(address string) bool {
	policy.lock.Lock()
	defer policy.lock.Unlock()
	if policy.flying[address] >= policy.most {
		return false
	}
	policy.flying[address]++
	return true
}

func (policy *Policy) give(address string) {
	policy.lock.Lock()
	policy.flying[address]--
	policy.lock.Unlock()
}

func (policy *Policy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	status, key := policy.decide(r, address)
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	if !policy.take(address) {
		w.WriteHeader(429)
		return
	}
	defer policy.give(address)
	for name := range r.Header {
		if policy.tables.Drop[name] || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Keystile-") {
			r.Header.Del(name)
		}
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	id := hex.EncodeToString(random)
	r.Header.Set("X-Request-Id", id)
	r.Header.Set("X-Forwarded-Proto", policy.scheme)
	r.Header.Set("X-Forwarded-Host", r.Host)
	r.Header.Set("X-Keystile-Account", key.Account)
	r.Header.Set("X-Keystile-Key", key.Id)
	r.Header.Set("X-Keystile-Scopes", key.Scopes)
	r.Header.Add("Via", "1.1 traefik")
	w.Header().Set("X-Request-Id", id)
	w.Header().Add("Via", "1.1 traefik")
	policy.next.ServeHTTP(w, r)
}
