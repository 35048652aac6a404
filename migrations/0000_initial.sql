CREATE TABLE "idempotency_keys" (
	"token_name" text NOT NULL,
	"key" text NOT NULL,
	"mutation" text NOT NULL,
	"input_sha256" text NOT NULL,
	"answer" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_keys_token_name_key_pk" PRIMARY KEY("token_name","key")
);
--> statement-breakpoint
CREATE TABLE "tokens" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"sha256" text NOT NULL,
	"scopes" text[] NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_used_at" timestamp with time zone,
	"revoked_at" timestamp with time zone,
	CONSTRAINT "tokens_sha256" UNIQUE("sha256")
);
--> statement-breakpoint
CREATE TABLE "attempts" (
	"job_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"id" uuid NOT NULL,
	"cluster" text NOT NULL,
	"batch_id" uuid NOT NULL,
	"task_index" integer NOT NULL,
	"state" text NOT NULL,
	"reason" text,
	"slurm_job_id" text,
	"node_list" text,
	"exit_code" integer,
	"signal" integer,
	"submitted_at" timestamp with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp with time zone,
	"finished_at" timestamp with time zone,
	"elapsed_seconds" double precision,
	"max_rss_bytes" bigint,
	"gpu_seconds" double precision,
	"stdout_path" text,
	"stderr_path" text,
	"stdout_tail" text,
	"stderr_tail" text,
	"error_text" text,
	CONSTRAINT "attempts_job_id_number_pk" PRIMARY KEY("job_id","number"),
	CONSTRAINT "attempts_id" UNIQUE("id"),
	CONSTRAINT "attempts_batch_task" UNIQUE("batch_id","task_index")
);
--> statement-breakpoint
CREATE TABLE "batches" (
	"id" uuid PRIMARY KEY NOT NULL,
	"cluster" text NOT NULL,
	"token" text NOT NULL,
	"state" text NOT NULL,
	"script" text NOT NULL,
	"task_count" integer NOT NULL,
	"slurm_job_id" text,
	"answer" text,
	"error" text,
	"submitted_at" timestamp with time zone DEFAULT now() NOT NULL,
	"answered_at" timestamp with time zone,
	CONSTRAINT "batches_token" UNIQUE("token")
);
--> statement-breakpoint
CREATE TABLE "checkpoints" (
	"job_id" uuid NOT NULL,
	"path" text NOT NULL,
	"id" uuid NOT NULL,
	"attempt_number" integer NOT NULL,
	"state" text NOT NULL,
	"step" bigint,
	"epoch" integer,
	"size_bytes" bigint NOT NULL,
	"file_count" integer NOT NULL,
	"aliases" text[] DEFAULT '{}' NOT NULL,
	"written_at" timestamp with time zone NOT NULL,
	CONSTRAINT "checkpoints_job_id_path_pk" PRIMARY KEY("job_id","path"),
	CONSTRAINT "checkpoints_id" UNIQUE("id")
);
--> statement-breakpoint
CREATE TABLE "clusters" (
	"name" text PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"reachable" boolean NOT NULL,
	"last_contact_at" timestamp with time zone,
	"last_error" text,
	"partitions" jsonb,
	"pending_job_count" integer,
	"running_job_count" integer,
	"max_array_size" integer,
	"scheduler_version" text,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "events" (
	"seq" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "events_seq_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"kind" text NOT NULL,
	"experiment_id" uuid NOT NULL,
	"sweep_id" uuid,
	"job_id" uuid,
	"attempt_number" integer,
	"payload" jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "experiments" (
	"id" uuid PRIMARY KEY NOT NULL,
	"project" text NOT NULL,
	"name" text NOT NULL,
	"description" text,
	"tags" text[] DEFAULT '{}' NOT NULL,
	"objective_metric" text,
	"objective_goal" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "experiments_project_name" UNIQUE("project","name")
);
--> statement-breakpoint
CREATE TABLE "jobs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"experiment_id" uuid NOT NULL,
	"sweep_id" uuid,
	"name" text NOT NULL,
	"config" jsonb NOT NULL,
	"fingerprint" text NOT NULL,
	"repetition" integer DEFAULT 0 NOT NULL,
	"tags" text[] DEFAULT '{}' NOT NULL,
	"priority" integer NOT NULL,
	"state" text NOT NULL,
	"state_reason" text,
	"cluster" text NOT NULL,
	"command" jsonb NOT NULL,
	"environment" jsonb NOT NULL,
	"working_directory" text,
	"code_version" text,
	"resources" jsonb NOT NULL,
	"storage_path" text NOT NULL,
	"attempt_count" integer DEFAULT 0 NOT NULL,
	"cancel_requested" boolean DEFAULT false NOT NULL,
	"hold_requested" boolean DEFAULT false NOT NULL,
	"held_on_cluster" boolean DEFAULT false NOT NULL,
	"submitted_by" text NOT NULL,
	"dropped_line_count" integer DEFAULT 0 NOT NULL,
	"last_dropped_line_reason" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp with time zone,
	"finished_at" timestamp with time zone,
	"harvested_at" timestamp with time zone,
	CONSTRAINT "jobs_fingerprint" UNIQUE("experiment_id","fingerprint","repetition")
);
--> statement-breakpoint
CREATE TABLE "file_cursors" (
	"job_id" uuid NOT NULL,
	"path" text NOT NULL,
	"offset_bytes" bigint NOT NULL,
	"inode" text NOT NULL,
	"next_step" bigint DEFAULT 0 NOT NULL,
	"skipping" boolean DEFAULT false NOT NULL,
	CONSTRAINT "file_cursors_job_id_path_pk" PRIMARY KEY("job_id","path")
);
--> statement-breakpoint
CREATE TABLE "metric_points" (
	"job_id" uuid NOT NULL,
	"series_number" integer NOT NULL,
	"step" bigint NOT NULL,
	"attempt_number" integer NOT NULL,
	"value" double precision NOT NULL,
	"time" timestamp with time zone NOT NULL,
	CONSTRAINT "metric_points_job_id_series_number_step_attempt_number_pk" PRIMARY KEY("job_id","series_number","step","attempt_number")
);
--> statement-breakpoint
CREATE TABLE "metric_series" (
	"job_id" uuid NOT NULL,
	"key" text NOT NULL,
	"series_number" integer NOT NULL,
	"point_count" bigint DEFAULT 0 NOT NULL,
	"last_step" bigint,
	"last_value" double precision,
	"last_time" timestamp with time zone,
	"min_step" bigint,
	"min_value" double precision,
	"min_time" timestamp with time zone,
	"max_step" bigint,
	"max_value" double precision,
	"max_time" timestamp with time zone,
	CONSTRAINT "metric_series_job_id_key_pk" PRIMARY KEY("job_id","key")
);
--> statement-breakpoint
CREATE TABLE "results" (
	"job_id" uuid PRIMARY KEY NOT NULL,
	"metrics" jsonb NOT NULL,
	"artifacts" jsonb NOT NULL,
	"finished_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "sweeps" (
	"id" uuid PRIMARY KEY NOT NULL,
	"experiment_id" uuid NOT NULL,
	"name" text NOT NULL,
	"space" jsonb NOT NULL,
	"strategy" text NOT NULL,
	"job_count" integer NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "attempts" ADD CONSTRAINT "attempts_job_id_jobs_id_fk" FOREIGN KEY ("job_id") REFERENCES "public"."jobs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "attempts" ADD CONSTRAINT "attempts_batch_id_batches_id_fk" FOREIGN KEY ("batch_id") REFERENCES "public"."batches"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD CONSTRAINT "checkpoints_job_id_jobs_id_fk" FOREIGN KEY ("job_id") REFERENCES "public"."jobs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_experiment_id_experiments_id_fk" FOREIGN KEY ("experiment_id") REFERENCES "public"."experiments"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_sweep_id_sweeps_id_fk" FOREIGN KEY ("sweep_id") REFERENCES "public"."sweeps"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "metric_series" ADD CONSTRAINT "metric_series_job_id_jobs_id_fk" FOREIGN KEY ("job_id") REFERENCES "public"."jobs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "results" ADD CONSTRAINT "results_job_id_jobs_id_fk" FOREIGN KEY ("job_id") REFERENCES "public"."jobs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sweeps" ADD CONSTRAINT "sweeps_experiment_id_experiments_id_fk" FOREIGN KEY ("experiment_id") REFERENCES "public"."experiments"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "attempts_active" ON "attempts" USING btree ("cluster") WHERE state in ('SUBMITTING', 'PENDING', 'CONFIGURING', 'RUNNING', 'SUSPENDED', 'COMPLETING');--> statement-breakpoint
CREATE INDEX "attempts_slurm_job" ON "attempts" USING btree ("cluster","slurm_job_id");--> statement-breakpoint
CREATE INDEX "batches_submitted" ON "batches" USING btree ("submitted_at","id");--> statement-breakpoint
CREATE INDEX "batches_open" ON "batches" USING btree ("cluster","state");--> statement-breakpoint
CREATE INDEX "checkpoints_step" ON "checkpoints" USING btree ("job_id","step");--> statement-breakpoint
CREATE INDEX "events_experiment" ON "events" USING btree ("experiment_id","seq");--> statement-breakpoint
CREATE INDEX "events_sweep" ON "events" USING btree ("sweep_id","seq");--> statement-breakpoint
CREATE INDEX "events_job" ON "events" USING btree ("job_id","seq");--> statement-breakpoint
CREATE INDEX "jobs_queue" ON "jobs" USING btree ("cluster","priority" DESC NULLS LAST,"id") WHERE state = 'QUEUED';--> statement-breakpoint
CREATE INDEX "jobs_active" ON "jobs" USING btree ("cluster") WHERE state in ('SUBMITTING', 'PENDING', 'RUNNING');--> statement-breakpoint
CREATE INDEX "jobs_settling" ON "jobs" USING btree ("cluster") WHERE finished_at is not null and harvested_at is null;--> statement-breakpoint
CREATE INDEX "jobs_experiment" ON "jobs" USING btree ("experiment_id","created_at","id");--> statement-breakpoint
CREATE INDEX "jobs_sweep" ON "jobs" USING btree ("sweep_id","state");--> statement-breakpoint
CREATE INDEX "jobs_created" ON "jobs" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "jobs_tags" ON "jobs" USING gin ("tags");--> statement-breakpoint
CREATE INDEX "jobs_config" ON "jobs" USING gin ("config" jsonb_path_ops);--> statement-breakpoint
CREATE INDEX "metric_series_key_last" ON "metric_series" USING btree ("key","last_value");--> statement-breakpoint
CREATE INDEX "results_finished" ON "results" USING btree ("finished_at","job_id");--> statement-breakpoint
CREATE INDEX "sweeps_experiment" ON "sweeps" USING btree ("experiment_id","created_at");