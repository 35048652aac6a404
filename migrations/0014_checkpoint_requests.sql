CREATE TABLE "checkpoint_request_items" (
	"job_id" uuid NOT NULL,
	"checkpoint_id" uuid NOT NULL,
	"request_id" uuid NOT NULL,
	"action" text NOT NULL,
	"cluster" text NOT NULL,
	"state" text NOT NULL,
	"problem" text,
	"tries" integer DEFAULT 0 NOT NULL,
	"members" jsonb,
	"is_one_file" boolean,
	"size_bytes" bigint NOT NULL,
	"freed_bytes" bigint,
	"run_id" uuid,
	"changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "checkpoint_request_items_job_id_checkpoint_id_request_id_pk" PRIMARY KEY("job_id","checkpoint_id","request_id")
);
--> statement-breakpoint
CREATE TABLE "checkpoint_requests" (
	"id" uuid PRIMARY KEY NOT NULL,
	"action" text NOT NULL,
	"place" text NOT NULL,
	"resources" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"requested_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "checkpoint_runs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"cluster" text NOT NULL,
	"token" text NOT NULL,
	"slurm_job_id" text,
	"submitted_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp with time zone
);
--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "archive_path" text;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "archive_bytes" bigint;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "archived_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "content_digest" text;--> statement-breakpoint
ALTER TABLE "checkpoint_request_items" ADD CONSTRAINT "checkpoint_request_items_job_id_jobs_id_fk" FOREIGN KEY ("job_id") REFERENCES "public"."jobs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "checkpoint_request_items" ADD CONSTRAINT "checkpoint_request_items_request_id_checkpoint_requests_id_fk" FOREIGN KEY ("request_id") REFERENCES "public"."checkpoint_requests"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "checkpoint_request_items_request" ON "checkpoint_request_items" USING btree ("request_id","state");--> statement-breakpoint
CREATE INDEX "checkpoint_request_items_open" ON "checkpoint_request_items" USING btree ("cluster","request_id") WHERE state in ('PENDING', 'RUNNING');--> statement-breakpoint
CREATE UNIQUE INDEX "checkpoint_request_items_one_open" ON "checkpoint_request_items" USING btree ("checkpoint_id") WHERE state in ('PENDING', 'RUNNING');--> statement-breakpoint
CREATE INDEX "checkpoint_requests_created" ON "checkpoint_requests" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "checkpoint_runs_open" ON "checkpoint_runs" USING btree ("cluster") WHERE ended_at is null;