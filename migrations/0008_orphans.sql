CREATE TABLE "orphans" (
	"id" uuid PRIMARY KEY NOT NULL,
	"cluster" text NOT NULL,
	"kind" text NOT NULL,
	"key" text NOT NULL,
	"token" text NOT NULL,
	"slurm_job_id" text,
	"state" text NOT NULL,
	"task_count" integer NOT NULL,
	"node_list" text,
	"since" timestamp with time zone NOT NULL,
	"submitted_at" timestamp with time zone,
	"job_id" uuid,
	"attempt_number" integer,
	"project" text,
	"experiment" text,
	"origin_problem" text,
	"wish" text,
	"wished_by" text,
	"wish_problem" text,
	"ignored" boolean DEFAULT false NOT NULL,
	CONSTRAINT "orphans_key" UNIQUE("cluster","kind","key")
);
--> statement-breakpoint
CREATE INDEX "orphans_since" ON "orphans" USING btree ("since","id");