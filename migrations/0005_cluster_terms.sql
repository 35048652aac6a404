CREATE TABLE "cluster_terms" (
	"cluster" text PRIMARY KEY NOT NULL,
	"term" bigint NOT NULL
);
