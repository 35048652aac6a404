CREATE TABLE "dropped_items" (
	"job_id" uuid NOT NULL,
	"reason" text NOT NULL,
	"count" bigint NOT NULL,
	"last_at" timestamp with time zone NOT NULL,
	CONSTRAINT "dropped_items_job_id_reason_pk" PRIMARY KEY("job_id","reason")
);
--> statement-breakpoint
CREATE TABLE "series_readers" (
	"job_id" uuid NOT NULL,
	"key" text NOT NULL,
	"reader" text NOT NULL,
	CONSTRAINT "series_readers_job_id_key_pk" PRIMARY KEY("job_id","key")
);
--> statement-breakpoint
ALTER TABLE "file_cursors" ADD COLUMN "memory" jsonb;