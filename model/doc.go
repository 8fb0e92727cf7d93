// Package model keeps the versions of the models that decisions rest on: forecasts of
// load, and what actions are expected to do.
//
// The mental model is a driver who is watched. One version of a model decides; decide.Care
// holds each of its forecasts against what came. When it no longer describes what comes it
// is demoted, and rules decide: the last season repeated, declared thresholds. A new
// version is fitted on what has been like now, runs beside as a shadow, and decides only
// once it has erred less on what neither had seen. A person may let an earlier version, or
// the rules, decide again; then nothing is promoted until somebody asks for a new version.
//
// A version is what it learns from: everything since an instant. Every change of who
// decides is a fact, written in one transaction with the model. The owners of models
// (anomaly, mitigate) hold one in memory and put it back with what they did; a model that
// somebody changed meanwhile is not overwritten.
package model
