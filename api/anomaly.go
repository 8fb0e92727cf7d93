package api

import "assay.dev/assay/anomaly"

// Anomaly is an alarm with the fact that it was recorded as.
type Anomaly = anomaly.Recorded

// Indicators is a service as it is watched for anomalies.
type Indicators = anomaly.Indicators

// Foreseen is the load of one objective: its past, its forecast, and how good that is.
type Foreseen = anomaly.Foreseen

// MaxAnomalies is how many anomalies one answer has.
const MaxAnomalies = 1000
